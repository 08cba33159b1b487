#include "internal.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <jerror.h>

/* A progressive JPEG can hold millions of tiny scans; each costs a pass over the whole image. */
#define MAX_SCANS 128

/* Chroma upsampling looks at neighbours: so many pixels around the region make its own pixels equal to those of a full decode. */
#define MARGIN 16

struct dm_jpeg {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf on_error; /* set by every entry below; libjpeg never returns from error_exit */
    dm_codec *codec;
};

static void fail_and_jump(j_common_ptr info)
{
    struct dm_jpeg *jpeg = info->client_data;
    char message[JMSG_LENGTH_MAX];
    info->err->format_message(info, message);
    dm_fail(jpeg->codec, info->err->msg_code == JERR_OUT_OF_MEMORY ? DM_NO_MEMORY : DM_BROKEN, "JPEG: %s", message);
    longjmp(jpeg->on_error, 1);
}

static void on_message(j_common_ptr info, int level)
{
    if (level >= 0)
        return; /* a trace */
    switch (info->err->msg_code) {
    /* Harmless oddities that every viewer ignores. */
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_TOO_MUCH_DATA:
        return;
    /* The rest means that pixels are invented: cut off or corrupt. */
    default:
        fail_and_jump(info);
    }
}

static void on_print(j_common_ptr info) { (void)info; }

static void on_progress(j_common_ptr info)
{
    struct dm_jpeg *jpeg = info->client_data;
    if (jpeg->info.input_scan_number > MAX_SCANS) {
        dm_fail(jpeg->codec, DM_BROKEN, "JPEG: more than %d scans", MAX_SCANS);
        longjmp(jpeg->on_error, 1);
    }
}

static struct dm_jpeg *open_jpeg(dm_codec *codec)
{
    if (codec->jpeg != NULL)
        return codec->jpeg;
    struct dm_jpeg *jpeg = calloc(1, sizeof *jpeg);
    if (jpeg == NULL) {
        dm_fail(codec, DM_NO_MEMORY, "no memory for a JPEG decoder");
        return NULL;
    }
    jpeg->codec = codec;
    jpeg->info.err = jpeg_std_error(&jpeg->errors);
    jpeg->errors.error_exit = fail_and_jump;
    jpeg->errors.emit_message = on_message;
    jpeg->errors.output_message = on_print;
    jpeg->info.client_data = jpeg;
    if (setjmp(jpeg->on_error) != 0) {
        free(jpeg);
        return NULL;
    }
    jpeg_create_decompress(&jpeg->info);
    jpeg->progress.progress_monitor = on_progress;
    jpeg->info.progress = &jpeg->progress;
    codec->jpeg = jpeg;
    return jpeg;
}

void dm_jpeg_free(struct dm_jpeg *jpeg)
{
    if (jpeg == NULL)
        return;
    jpeg_destroy_decompress(&jpeg->info);
    free(jpeg);
}

static int32_t read_header(struct dm_jpeg *jpeg, const uint8_t *data, size_t size)
{
    jpeg_mem_src(&jpeg->info, data, size);
    jpeg_read_header(&jpeg->info, TRUE);
    return dm_check_size(jpeg->codec, jpeg->info.image_width, jpeg->info.image_height);
}

static int is_gray(const struct jpeg_decompress_struct *info) { return info->jpeg_color_space == JCS_GRAYSCALE; }

int32_t dm_jpeg_probe(dm_codec *codec, const uint8_t *data, size_t size, dm_info *out)
{
    struct dm_jpeg *jpeg = open_jpeg(codec);
    if (jpeg == NULL)
        return DM_NO_MEMORY;
    if (setjmp(jpeg->on_error) != 0) {
        jpeg_abort_decompress(&jpeg->info);
        return DM_BROKEN;
    }
    int32_t status = read_header(jpeg, data, size);
    out->width = (int32_t)jpeg->info.image_width;
    out->height = (int32_t)jpeg->info.image_height;
    out->channels = is_gray(&jpeg->info) ? 1 : 3;
    jpeg_abort_decompress(&jpeg->info);
    return status;
}

/* Adobe stores CMYK inverted, so RGB is the product with K. */
static void cmyk_to_rgb(const uint8_t *from, uint8_t *to, int32_t width)
{
    for (int32_t i = 0; i < width; i++, from += 4, to += 3) {
        for (int c = 0; c < 3; c++) {
            unsigned product = from[c] * from[3] + 128;
            to[c] = (uint8_t)((product + (product >> 8)) >> 8); /* rounded product / 255 */
        }
    }
}

/* Everything after setjmp lives in its own function: no local variable is read after a longjmp. */
static int32_t decode(struct dm_jpeg *jpeg, const uint8_t *data, size_t size, const dm_region *want, int32_t denominator, dm_pixels *out)
{
    dm_codec *codec = jpeg->codec;
    struct jpeg_decompress_struct *info = &jpeg->info;
    int32_t status = read_header(jpeg, data, size);
    if (status != DM_OK)
        return status;

    if (want != NULL && ((JDIMENSION)want->x >= info->image_width || (JDIMENSION)want->y >= info->image_height))
        return dm_fail(codec, DM_MISUSE, "the region lies outside the image");

    int cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    info->out_color_space = is_gray(info) ? JCS_GRAYSCALE : cmyk ? JCS_CMYK : JCS_RGB;
    info->scale_num = 1;
    info->scale_denom = (unsigned)denominator;
    info->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(info);

    int32_t width = (int32_t)info->output_width, height = (int32_t)info->output_height;
    int32_t left = 0, top = 0, right = width, bottom = height;
    if (want != NULL) {
        left = want->x / denominator - MARGIN;
        top = want->y / denominator;
        right = (int32_t)(((int64_t)want->x + want->width + denominator - 1) / denominator) + MARGIN;
        bottom = (int32_t)(((int64_t)want->y + want->height + denominator - 1) / denominator);
        left = left < 0 ? 0 : left;
        right = right > width ? width : right;
        bottom = bottom > height ? height : bottom;
    }

    if (left > 0 || right < width) {
        JDIMENSION offset = (JDIMENSION)left, columns = (JDIMENSION)(right - left);
        jpeg_crop_scanline(info, &offset, &columns); /* moves left to a block border */
        left = (int32_t)offset;
        right = left + (int32_t)columns;
    }

    int32_t channels = is_gray(info) ? 1 : 3;
    size_t stride = (size_t)(right - left) * (size_t)channels;
    status = dm_grow(codec, &codec->buffer, &codec->buffer_size, stride * (size_t)(bottom - top));
    if (status == DM_OK && cmyk)
        status = dm_grow(codec, &codec->scratch, &codec->scratch_size, (size_t)(right - left) * 4);
    if (status != DM_OK)
        return status;

    if (top > 0)
        jpeg_skip_scanlines(info, (JDIMENSION)top);
    while ((int32_t)info->output_scanline < bottom) {
        uint8_t *row = codec->buffer + (size_t)((int32_t)info->output_scanline - top) * stride;
        JSAMPROW into = cmyk ? codec->scratch : row;
        jpeg_read_scanlines(info, &into, 1);
        if (cmyk)
            cmyk_to_rgb(codec->scratch, row, right - left);
    }
    if (bottom == height)
        jpeg_finish_decompress(info); /* the end of the file must be there too */

    out->pixels = codec->buffer;
    out->stride = (int64_t)stride;
    out->region = (dm_region){left, top, right - left, bottom - top};
    out->channels = channels;
    return DM_OK;
}

int32_t dm_jpeg_decode(dm_codec *codec, const uint8_t *data, size_t size, const dm_region *want, int32_t denominator, dm_pixels *out)
{
    struct dm_jpeg *jpeg = open_jpeg(codec);
    if (jpeg == NULL)
        return DM_NO_MEMORY;
    if (setjmp(jpeg->on_error) != 0) {
        jpeg_abort_decompress(&jpeg->info);
        return DM_BROKEN;
    }
    int32_t status = decode(jpeg, data, size, want, denominator, out);
    jpeg_abort_decompress(&jpeg->info);
    return status;
}

#include "internal.h"

#include <stdlib.h>
#include <string.h>

#include <spng.h>

static int32_t fail(dm_codec *codec, int error)
{
    return dm_fail(codec, error == SPNG_EMEM ? DM_NO_MEMORY : DM_BROKEN, "PNG: %s", spng_strerror(error));
}

static int is_gray(const struct spng_ihdr *header)
{
    return header->color_type == SPNG_COLOR_TYPE_GRAYSCALE || header->color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA;
}

/* Opens the file and reads its header; the caller frees *png in any case. */
static int32_t open_png(dm_codec *codec, const uint8_t *data, size_t size, spng_ctx **png, struct spng_ihdr *header)
{
    *png = spng_ctx_new(0);
    if (*png == NULL)
        return dm_fail(codec, DM_NO_MEMORY, "no memory for a PNG decoder");
    int error = spng_set_chunk_limits(*png, 64 << 20, 64 << 20);
    if (error == 0)
        error = spng_set_png_buffer(*png, data, size);
    if (error == 0)
        error = spng_get_ihdr(*png, header);
    return error != 0 ? fail(codec, error) : dm_check_size(codec, header->width, header->height);
}

int32_t dm_png_probe(dm_codec *codec, const uint8_t *data, size_t size, dm_info *info)
{
    spng_ctx *png;
    struct spng_ihdr header;
    int32_t status = open_png(codec, data, size, &png, &header);
    if (status == DM_OK) {
        info->width = (int32_t)header.width;
        info->height = (int32_t)header.height;
        info->channels = is_gray(&header) ? 1 : 3;
    }
    spng_ctx_free(png);
    return status;
}

/* Copies the wanted columns of a decoded row; gray that had to be decoded as RGB keeps one channel. */
static void take_row(const uint8_t *row, int decoded_channels, uint8_t *to, int channels, int32_t x, int32_t width)
{
    row += (size_t)x * (size_t)decoded_channels;
    if (decoded_channels == channels) {
        memcpy(to, row, (size_t)width * (size_t)channels);
        return;
    }
    for (int32_t i = 0; i < width; i++)
        to[i] = row[(size_t)i * 3];
}

static int32_t decode(dm_codec *codec, spng_ctx *png, const struct spng_ihdr *header, const dm_region *want, dm_pixels *out)
{
    int64_t width = header->width, height = header->height;
    dm_region region = {0, 0, (int32_t)width, (int32_t)height};
    if (want != NULL) {
        if (want->x >= width || want->y >= height)
            return dm_fail(codec, DM_MISUSE, "the region lies outside the image");
        region = *want;
        region.width = want->width > width - want->x ? (int32_t)width - want->x : want->width;
        region.height = want->height > height - want->y ? (int32_t)height - want->y : want->height;
    }

    int channels = is_gray(header) ? 1 : 3;
    int plain_gray = header->color_type == SPNG_COLOR_TYPE_GRAYSCALE && header->bit_depth <= 8;
    int decoded_channels = plain_gray ? 1 : 3;
    int format = plain_gray ? SPNG_FMT_G8 : SPNG_FMT_RGB8;
    size_t row_bytes = (size_t)width * (size_t)decoded_channels;
    size_t stride = (size_t)region.width * (size_t)channels;
    int interlaced = header->interlace_method != 0;

    int32_t status = dm_grow(codec, &codec->buffer, &codec->buffer_size, stride * (size_t)region.height);
    if (status == DM_OK)
        status = dm_grow(codec, &codec->scratch, &codec->scratch_size, interlaced ? row_bytes * (size_t)height : row_bytes);
    if (status != DM_OK)
        return status;

    int error = interlaced ? spng_decode_image(png, codec->scratch, row_bytes * (size_t)height, format, 0)
                           : spng_decode_image(png, NULL, 0, format, SPNG_DECODE_PROGRESSIVE);
    int32_t end = region.y + region.height;
    for (int32_t y = interlaced ? region.y : 0; error == 0 && y < end; y++) {
        const uint8_t *row = codec->scratch + (interlaced ? row_bytes * (size_t)y : 0);
        if (!interlaced) {
            error = spng_decode_row(png, codec->scratch, row_bytes);
            if (error == SPNG_EOI && y == height - 1)
                error = 0;
        }
        if (error == 0 && y >= region.y)
            take_row(row, decoded_channels, codec->buffer + (size_t)(y - region.y) * stride, channels, region.x, region.width);
    }
    if (error != 0)
        return fail(codec, error);

    out->pixels = codec->buffer;
    out->stride = (int64_t)stride;
    out->region = region;
    out->channels = channels;
    return DM_OK;
}

int32_t dm_png_decode(dm_codec *codec, const uint8_t *data, size_t size, const dm_region *want, dm_pixels *out)
{
    spng_ctx *png;
    struct spng_ihdr header;
    int32_t status = open_png(codec, data, size, &png, &header);
    if (status == DM_OK)
        status = decode(codec, png, &header, want, out);
    spng_ctx_free(png);
    return status;
}

static int32_t encode(dm_codec *codec, spng_ctx *png, const uint8_t *pixels, int32_t width, int32_t height, int32_t channels, size_t *size)
{
    struct spng_ihdr header = {
        .width = (uint32_t)width,
        .height = (uint32_t)height,
        .bit_depth = 8,
        .color_type = channels == 1 ? SPNG_COLOR_TYPE_GRAYSCALE : SPNG_COLOR_TYPE_TRUECOLOR,
    };
    int error = spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    if (error == 0)
        error = spng_set_ihdr(png, &header);
    if (error == 0)
        error = spng_encode_image(png, pixels, (size_t)width * (size_t)height * (size_t)channels, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
    if (error != 0)
        return fail(codec, error);

    uint8_t *encoded = spng_get_png_buffer(png, size, &error);
    if (encoded == NULL)
        return fail(codec, error);
    int32_t status = dm_grow(codec, &codec->buffer, &codec->buffer_size, *size);
    if (status == DM_OK)
        memcpy(codec->buffer, encoded, *size);
    free(encoded);
    return status;
}

int32_t dm_png_encode(dm_codec *codec, const uint8_t *pixels, int32_t width, int32_t height, int32_t channels, const uint8_t **encoded,
                      size_t *size)
{
    if (channels != 1 && channels != 3)
        return dm_fail(codec, DM_MISUSE, "%d channels; a PNG is written with 1 or 3", channels);
    int32_t status = dm_check_size(codec, width, height);
    if (status != DM_OK)
        return status;
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    if (png == NULL)
        return dm_fail(codec, DM_NO_MEMORY, "no memory for a PNG encoder");
    status = encode(codec, png, pixels, width, height, channels, size);
    spng_ctx_free(png);
    *encoded = codec->buffer;
    return status;
}

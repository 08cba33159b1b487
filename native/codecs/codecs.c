#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int32_t dm_version(void) { return DM_VERSION; }

dm_codec *dm_codec_new(void) { return calloc(1, sizeof(dm_codec)); }

void dm_codec_free(dm_codec *codec)
{
    if (codec == NULL)
        return;
    dm_jpeg_free(codec->jpeg);
    free(codec->buffer);
    free(codec->scratch);
    free(codec);
}

const char *dm_codec_error(const dm_codec *codec) { return codec->error; }

int32_t dm_fail(dm_codec *codec, int32_t code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(codec->error, sizeof codec->error, format, arguments);
    va_end(arguments);
    return code;
}

int32_t dm_grow(dm_codec *codec, uint8_t **block, size_t *have, size_t size)
{
    if (size <= *have)
        return DM_OK;
    free(*block);
    *block = malloc(size);
    *have = *block == NULL ? 0 : size;
    return *block == NULL ? dm_fail(codec, DM_NO_MEMORY, "no memory for %zu bytes of pixels", size) : DM_OK;
}

int32_t dm_check_size(dm_codec *codec, int64_t width, int64_t height)
{
    if (width < 1 || height < 1)
        return dm_fail(codec, DM_BROKEN, "it claims %lld x %lld pixels", (long long)width, (long long)height);
    if (width > DM_MAX_SIDE || height > DM_MAX_SIDE || width * height > DM_MAX_PIXELS)
        return dm_fail(codec, DM_TOO_LARGE, "%lld x %lld pixels are more than the %d million that are decoded", (long long)width,
                       (long long)height, DM_MAX_PIXELS >> 20);
    return DM_OK;
}

static int32_t sniff(const uint8_t *data, size_t size)
{
    if (size >= 3 && data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF)
        return DM_JPEG;
    if (size >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
        return DM_PNG;
    if (size >= 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0)
        return DM_WEBP;
    return DM_UNKNOWN;
}

static const char *foreign_name(const uint8_t *data, size_t size)
{
    if (size >= 4 && memcmp(data, "GIF8", 4) == 0)
        return " (it is a GIF)";
    if (size >= 2 && memcmp(data, "BM", 2) == 0)
        return " (it looks like a BMP)";
    if (size >= 4 && (memcmp(data, "II*\0", 4) == 0 || memcmp(data, "MM\0*", 4) == 0))
        return " (it is a TIFF)";
    if (size >= 12 && memcmp(data + 4, "ftyp", 4) == 0)
        return " (it is an AVIF, HEIC or MP4)";
    if (size >= 1 && data[0] == '<')
        return " (it looks like a web page or SVG)";
    return "";
}

static int32_t foreign(dm_codec *codec, const uint8_t *data, size_t size)
{
    if (size == 0)
        return dm_fail(codec, DM_FOREIGN, "the file is empty");
    return dm_fail(codec, DM_FOREIGN, "not a JPEG, PNG or WebP%s", foreign_name(data, size));
}

int32_t dm_probe(dm_codec *codec, const uint8_t *data, size_t size, dm_info *info)
{
    info->format = sniff(data, size);
    switch (info->format) {
    case DM_JPEG: return dm_jpeg_probe(codec, data, size, info);
    case DM_PNG: return dm_png_probe(codec, data, size, info);
    case DM_WEBP: return dm_webp_probe(codec, data, size, info);
    default: return foreign(codec, data, size);
    }
}

int32_t dm_decode(dm_codec *codec, const uint8_t *data, size_t size, const dm_region *want, int32_t denominator, dm_pixels *out)
{
    if (want != NULL && (want->x < 0 || want->y < 0 || want->width < 1 || want->height < 1))
        return dm_fail(codec, DM_MISUSE, "region %d,%d %dx%d has no pixels", want->x, want->y, want->width, want->height);
    if (denominator != 1 && denominator != 2 && denominator != 4 && denominator != 8)
        return dm_fail(codec, DM_MISUSE, "denominator %d is not 1, 2, 4 or 8", denominator);
    int32_t format = sniff(data, size);
    if (denominator != 1 && format != DM_JPEG)
        return dm_fail(codec, DM_MISUSE, "only a JPEG can be decoded at 1/%d", denominator);
    switch (format) {
    case DM_JPEG: return dm_jpeg_decode(codec, data, size, want, denominator, out);
    case DM_PNG: return dm_png_decode(codec, data, size, want, out);
    case DM_WEBP: return dm_webp_decode(codec, data, size, want, out);
    default: return foreign(codec, data, size);
    }
}

/*
 * Image codecs for DarkMatter.Data: JPEG (libjpeg-turbo), PNG (libspng), WebP (libwebp).
 *
 * One dm_codec serves one thread. Pixels and messages it returns stay valid until its next call. Every function returns DM_OK or an error
 * code with a message in dm_codec_error; none aborts, prints, or jumps past its caller. Gray images give 1 channel, all others RGB:
 * palettes are resolved, alpha is dropped, 16-bit samples keep their high byte, CMYK (Adobe's inverted form) is multiplied out.
 */
#ifndef DARKMATTER_CODECS_H
#define DARKMATTER_CODECS_H

#include <stddef.h>
#include <stdint.h>

#define DM_API __attribute__((visibility("default")))
#define DM_VERSION 1

/* Persisted nowhere, but mirrored by ImageFormat and CodecStatus in C#. */
enum { DM_UNKNOWN = 0, DM_JPEG = 1, DM_PNG = 2, DM_WEBP = 3 };
enum { DM_OK = 0, DM_BROKEN = 1, DM_FOREIGN = 2, DM_TOO_LARGE = 3, DM_NO_MEMORY = 4, DM_MISUSE = 5 };

/* The largest image that is decoded: 256 million pixels, 65,535 on a side. */
#define DM_MAX_PIXELS (1 << 28)
#define DM_MAX_SIDE 65535

typedef struct {
    int32_t format;
    int32_t width;
    int32_t height;
    int32_t channels; /* 1 or 3 */
} dm_info;

typedef struct {
    int32_t x, y, width, height;
} dm_region;

/* What was decoded: at least the region asked for, in pixels of the image scaled by 1/denominator. */
typedef struct {
    const uint8_t *pixels; /* rows of width * channels bytes, `stride` bytes apart */
    int64_t stride;
    dm_region region;
    int32_t channels;
} dm_pixels;

typedef struct dm_codec dm_codec;

DM_API int32_t dm_version(void);
DM_API dm_codec *dm_codec_new(void);
DM_API void dm_codec_free(dm_codec *codec);
DM_API const char *dm_codec_error(const dm_codec *codec);

/* Reads the header only. */
DM_API int32_t dm_probe(dm_codec *codec, const uint8_t *data, size_t size, dm_info *info);

/*
 * Decodes `want` (full-size pixels; NULL for all). `denominator` is 1, 2, 4 or 8; above 1 only for JPEG, which then scales in the DCT domain.
 */
DM_API int32_t dm_decode(dm_codec *codec, const uint8_t *data, size_t size, const dm_region *want, int32_t denominator, dm_pixels *out);

/* Encodes a PNG of 1 (gray) or 3 (RGB) channels, rows adjacent. */
DM_API int32_t dm_png_encode(dm_codec *codec, const uint8_t *pixels, int32_t width, int32_t height, int32_t channels,
                             const uint8_t **png, size_t *size);

#endif

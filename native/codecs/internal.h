#ifndef DARKMATTER_CODECS_INTERNAL_H
#define DARKMATTER_CODECS_INTERNAL_H

#include "codecs.h"

struct dm_jpeg;

struct dm_codec {
    char error[256];
    uint8_t *buffer; /* the pixels handed out */
    size_t buffer_size;
    uint8_t *scratch; /* whole rows or images on their way */
    size_t scratch_size;
    struct dm_jpeg *jpeg;
};

/* Writes the message and returns `code`. */
int32_t dm_fail(dm_codec *codec, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Grows a block to at least `size` bytes; its old content is lost. */
int32_t dm_grow(dm_codec *codec, uint8_t **block, size_t *have, size_t size);

/* Refuses what is too large to decode. */
int32_t dm_check_size(dm_codec *codec, int64_t width, int64_t height);

int32_t dm_jpeg_probe(dm_codec *codec, const uint8_t *data, size_t size, dm_info *info);
int32_t dm_jpeg_decode(dm_codec *codec, const uint8_t *data, size_t size, const dm_region *want, int32_t denominator, dm_pixels *out);
void dm_jpeg_free(struct dm_jpeg *jpeg);

int32_t dm_png_probe(dm_codec *codec, const uint8_t *data, size_t size, dm_info *info);
int32_t dm_png_decode(dm_codec *codec, const uint8_t *data, size_t size, const dm_region *want, dm_pixels *out);

int32_t dm_webp_probe(dm_codec *codec, const uint8_t *data, size_t size, dm_info *info);
int32_t dm_webp_decode(dm_codec *codec, const uint8_t *data, size_t size, const dm_region *want, dm_pixels *out);

#endif

#include "internal.h"

#include <webp/decode.h>

/* Chroma upsampling looks one chroma sample, two pixels, to each side. */
#define MARGIN 4

static int32_t fail(dm_codec *codec, VP8StatusCode status)
{
    const char *reason;
    switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY: return dm_fail(codec, DM_NO_MEMORY, "WebP: no memory");
    case VP8_STATUS_BITSTREAM_ERROR: reason = "corrupt data"; break;
    case VP8_STATUS_UNSUPPORTED_FEATURE: reason = "unsupported feature"; break;
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA: reason = "it is cut off"; break;
    default: reason = "it cannot be decoded"; break;
    }
    return dm_fail(codec, DM_BROKEN, "WebP: %s", reason);
}

static int32_t read_features(dm_codec *codec, const uint8_t *data, size_t size, WebPBitstreamFeatures *features)
{
    VP8StatusCode status = WebPGetFeatures(data, size, features);
    if (status != VP8_STATUS_OK)
        return fail(codec, status);
    if (features->has_animation)
        return dm_fail(codec, DM_BROKEN, "WebP: it is an animation");
    return dm_check_size(codec, features->width, features->height);
}

int32_t dm_webp_probe(dm_codec *codec, const uint8_t *data, size_t size, dm_info *info)
{
    WebPBitstreamFeatures features;
    int32_t status = read_features(codec, data, size, &features);
    if (status == DM_OK) {
        info->width = features.width;
        info->height = features.height;
        info->channels = 3;
    }
    return status;
}

int32_t dm_webp_decode(dm_codec *codec, const uint8_t *data, size_t size, const dm_region *want, dm_pixels *out)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return dm_fail(codec, DM_BROKEN, "WebP: the library has another version than its header");
    int32_t status = read_features(codec, data, size, &config.input);
    if (status != DM_OK)
        return status;

    int32_t left = 0, top = 0, right = config.input.width, bottom = config.input.height;
    if (want != NULL) {
        if (want->x >= right || want->y >= bottom)
            return dm_fail(codec, DM_MISUSE, "the region lies outside the image");
        int64_t wanted_right = (int64_t)want->x + want->width + MARGIN, wanted_bottom = (int64_t)want->y + want->height + MARGIN;
        left = want->x < MARGIN ? 0 : (want->x - MARGIN) & ~1; /* libwebp crops at even pixels */
        top = want->y < MARGIN ? 0 : (want->y - MARGIN) & ~1;
        right = wanted_right < right ? (int32_t)wanted_right : right;
        bottom = wanted_bottom < bottom ? (int32_t)wanted_bottom : bottom;
        config.options.use_cropping = 1;
        config.options.crop_left = left;
        config.options.crop_top = top;
        config.options.crop_width = right - left;
        config.options.crop_height = bottom - top;
    }

    size_t stride = (size_t)(right - left) * 3, bytes = stride * (size_t)(bottom - top);
    status = dm_grow(codec, &codec->buffer, &codec->buffer_size, bytes);
    if (status != DM_OK)
        return status;
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = codec->buffer;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = bytes;
    VP8StatusCode decoded = WebPDecode(data, size, &config);
    WebPFreeDecBuffer(&config.output);
    if (decoded != VP8_STATUS_OK)
        return fail(codec, decoded);

    out->pixels = codec->buffer;
    out->stride = (int64_t)stride;
    out->region = (dm_region){left, top, right - left, bottom - top};
    out->channels = 3;
    return DM_OK;
}

// Bytes of images to normalised floats, channels together as they come.
#include "rows.h"
#include "shim.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

using at::Tensor;
using dm::Handle;

namespace {

// The pattern of scales and offsets repeats after `period` elements, a multiple of the channels and of the lanes.
DM_INLINE void normalize_body(const uint8_t* in, float* out, int64_t n, const float* scale, const float* offset, int64_t period) {
  int64_t i = 0;
  for (; i + period <= n; i += period) {
    for (int64_t j = 0; j < period; j++) out[i + j] = in[i + j] * scale[j] + offset[j];
  }
  for (int64_t j = 0; i < n; i++, j++) out[i] = in[i] * scale[j] + offset[j];
}

#pragma GCC push_options
#pragma GCC optimize("O3")
DM_FOR_EACH_TARGET(normalize, , (const uint8_t* in, float* out, int64_t n, const float* scale, const float* offset, int64_t period),
                   normalize_body(in, out, n, scale, offset, period))
#pragma GCC pop_options

}  // namespace

// images uint8 [N, H, W, C] contiguous; out float32 [N, C, H, W] channels-last: (byte / 255 - mean) / deviation.
DM_API int dm_normalize(Handle images, const float* mean, const float* deviation, Handle* out) {
  return dm::guarded([&] {
    const Tensor x = dm::borrow(images).contiguous();
    const int64_t channels = x.size(3), period = channels * dm::kLanes * 4;
    std::vector<float> scale(period), offset(period);
    for (int64_t i = 0; i < period; i++) {
      scale[i] = 1 / (255 * deviation[i % channels]);
      offset[i] = -mean[i % channels] / deviation[i % channels];
    }
    Tensor y = at::empty(x.sizes(), at::kFloat);
    const int64_t image = x.size(1) * x.size(2) * channels;
    at::parallel_for(0, x.size(0), 64, [&](int64_t first, int64_t last) {
      DM_CALL(normalize, x.data_ptr<uint8_t>() + first * image, y.data_ptr<float>() + first * image, (last - first) * image, scale.data(), offset.data(), period);
    });
    *out = dm::give(y.permute({0, 3, 1, 2}));
  });
}

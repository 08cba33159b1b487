// Batch normalisation over rows of channels (channels-last memory), with the residual and ReLU that follow it in the same pass, and with
// statistics that may be summed over ranks. Two passes over memory forward, two backward.
#include "rows.h"
#include "shim.h"

#include <ATen/Parallel.h>
#include <ATen/TensorUtils.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <cmath>
#include <functional>
#include <memory>
#include <type_traits>

using at::Tensor;
using dm::Handle;
using dm::kLanes;
using dm::Lanes;
using dm::WideLanes;
using torch::autograd::Node;
using torch::autograd::variable_list;

namespace {

// Where a backward pass learns which outputs ReLU had cut off: nowhere, from x again, or from the output that a residual was added to.
enum Mask { kNone, kFromInput, kFromOutput };

// Rows worked on together: their elements fit the first-level cache, and the float sums of bfloat16 stay short before they go to double.
inline int64_t rows_together(int64_t channels) { return std::max<int64_t>(8, 4096 / channels); }

// What is summed of float32 is summed in double: a mean's last bit must not depend on which rank has which rows, for of a hundred thousand activations it
// moves one to the other side of ReLU's kink, and with it the gradient. bfloat16 rounds more than that anyway, and keeps the faster sums.
template <class T>
using Sums = std::conditional_t<std::is_same_v<T, float>, WideLanes, Lanes>;

template <class T>
DM_INLINE Sums<T> summand(Lanes v) {
  if constexpr (std::is_same_v<T, float>) return __builtin_convertvector(v, WideLanes);
  else return v;
}

// ---- pass 1 forward: sums of (x - shift) and its square, per channel -------------------------------------------------------
template <class T>
DM_INLINE void sums_body(const T* x, int64_t rows, int64_t channels, const float* shift, double* sum, double* squares) {
  const int64_t together = rows_together(channels);
  for (int64_t r0 = 0; r0 < rows; r0 += together) {
    const int64_t r1 = std::min(rows, r0 + together);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const Lanes k = dm::load(shift + c);
      Sums<T> s[4] = {}, q[4] = {};
      int64_t r = r0;
      for (; r + 4 <= r1; r += 4) {
        for (int u = 0; u < 4; u++) {
          const Sums<T> v = summand<T>(dm::load(x + (r + u) * channels + c) - k);
          s[u] += v;
          q[u] += v * v;
        }
      }
      for (; r < r1; r++) {
        const Sums<T> v = summand<T>(dm::load(x + r * channels + c) - k);
        s[0] += v;
        q[0] += v * v;
      }
      const Sums<T> total = (s[0] + s[1]) + (s[2] + s[3]), total2 = (q[0] + q[1]) + (q[2] + q[3]);
      for (int i = 0; i < kLanes; i++) {
        sum[c + i] += total[i];
        squares[c + i] += total2[i];
      }
    }
    for (; c < channels; c++) {
      for (int64_t r = r0; r < r1; r++) {
        const double v = dm::load1(x + r * channels + c) - shift[c];
        sum[c] += v;
        squares[c] += v * v;
      }
    }
  }
}

// ---- pass 2 forward: y = relu?(x * scale + offset [+ residual]) --------------------------------------------------------------
template <class T, bool relu, bool add>
DM_INLINE void apply_rows(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, const float* scale, const float* offset) {
  const int64_t together = rows_together(channels);
  for (int64_t r0 = 0; r0 < rows; r0 += together) {
    const int64_t r1 = std::min(rows, r0 + together);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const Lanes a = dm::load(scale + c), b = dm::load(offset + c);
      for (int64_t r = r0; r < r1; r++) {
        const int64_t at = r * channels + c;
        Lanes v = dm::load(x + at) * a + b;
        if (add) v += dm::load(residual + at);
        dm::store(y + at, relu ? dm::positive(v) : v);
      }
    }
    for (; c < channels; c++) {
      for (int64_t r = r0; r < r1; r++) {
        const int64_t at = r * channels + c;
        float v = dm::load1(x + at) * scale[c] + offset[c];
        if (add) v += dm::load1(residual + at);
        dm::store1(y + at, relu ? dm::positive(v) : v);
      }
    }
  }
}

template <class T>
DM_INLINE void apply_body(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, const float* scale, const float* offset, bool relu) {
  if (residual == nullptr) {
    if (relu) apply_rows<T, true, false>(x, residual, y, rows, channels, scale, offset);
    else apply_rows<T, false, false>(x, residual, y, rows, channels, scale, offset);
  } else {
    if (relu) apply_rows<T, true, true>(x, residual, y, rows, channels, scale, offset);
    else apply_rows<T, false, true>(x, residual, y, rows, channels, scale, offset);
  }
}

// ---- pass 1 backward: sums of dy and dy (x - mean), dy being masked; the masked dy is the residual's gradient ----------------
template <class T, Mask mask>
DM_INLINE void gradient_sums_rows(const T* dy, const T* x, const T* y, T* masked, int64_t rows, int64_t channels, const float* scale,
                                  const float* offset, const float* mean, double* sum, double* products) {
  const int64_t together = rows_together(channels);
  for (int64_t r0 = 0; r0 < rows; r0 += together) {
    const int64_t r1 = std::min(rows, r0 + together);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const Lanes a = dm::load(scale + c), b = dm::load(offset + c), m = dm::load(mean + c);
      Sums<T> s[2] = {}, p[2] = {};
      for (int64_t r = r0; r < r1; r++) {
        const int64_t at = r * channels + c;
        const Lanes v = dm::load(x + at);
        Lanes g = dm::load(dy + at);
        if (mask == kFromInput) g = v * a + b > 0 ? g : Lanes{};
        if (mask == kFromOutput) {
          g = dm::load(y + at) > 0 ? g : Lanes{};
          dm::store(masked + at, g);
        }
        s[r & 1] += summand<T>(g);
        p[r & 1] += summand<T>(g) * summand<T>(v - m);
      }
      const Sums<T> total = s[0] + s[1], total2 = p[0] + p[1];
      for (int i = 0; i < kLanes; i++) {
        sum[c + i] += total[i];
        products[c + i] += total2[i];
      }
    }
    for (; c < channels; c++) {
      for (int64_t r = r0; r < r1; r++) {
        const int64_t at = r * channels + c;
        const float v = dm::load1(x + at);
        float g = dm::load1(dy + at);
        if (mask == kFromInput) g = v * scale[c] + offset[c] > 0 ? g : 0;
        if (mask == kFromOutput) {
          g = dm::load1(y + at) > 0 ? g : 0;
          dm::store1(masked + at, g);
        }
        sum[c] += g;
        products[c] += static_cast<double>(g) * (v - mean[c]);
      }
    }
  }
}

template <class T>
DM_INLINE void gradient_sums_body(const T* dy, const T* x, const T* y, T* masked, int64_t rows, int64_t channels, const float* scale,
                                  const float* offset, const float* mean, double* sum, double* products, Mask mask) {
  if (mask == kNone) gradient_sums_rows<T, kNone>(dy, x, y, masked, rows, channels, scale, offset, mean, sum, products);
  else if (mask == kFromInput) gradient_sums_rows<T, kFromInput>(dy, x, y, masked, rows, channels, scale, offset, mean, sum, products);
  else gradient_sums_rows<T, kFromOutput>(dy, x, y, masked, rows, channels, scale, offset, mean, sum, products);
}

// ---- pass 2 backward: dx = dy * p + x * q + r per channel ----------------------------------------------------------------------
template <class T, bool masked>
DM_INLINE void gradient_rows(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const float* scale, const float* offset,
                             const float* p, const float* q, const float* r) {
  const int64_t together = rows_together(channels);
  for (int64_t r0 = 0; r0 < rows; r0 += together) {
    const int64_t r1 = std::min(rows, r0 + together);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const Lanes a = dm::load(scale + c), b = dm::load(offset + c), pc = dm::load(p + c), qc = dm::load(q + c), rc = dm::load(r + c);
      for (int64_t row = r0; row < r1; row++) {
        const int64_t at = row * channels + c;
        const Lanes v = dm::load(x + at);
        Lanes g = dm::load(dy + at);
        if (masked) g = v * a + b > 0 ? g : Lanes{};
        dm::store(dx + at, g * pc + (v * qc + rc));
      }
    }
    for (; c < channels; c++) {
      for (int64_t row = r0; row < r1; row++) {
        const int64_t at = row * channels + c;
        const float v = dm::load1(x + at);
        float g = dm::load1(dy + at);
        if (masked) g = v * scale[c] + offset[c] > 0 ? g : 0;
        dm::store1(dx + at, g * p[c] + (v * q[c] + r[c]));
      }
    }
  }
}

template <class T>
DM_INLINE void gradient_body(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const float* scale, const float* offset, const float* p,
                             const float* q, const float* r, bool masked) {
  if (masked) gradient_rows<T, true>(dy, x, dx, rows, channels, scale, offset, p, q, r);
  else gradient_rows<T, false>(dy, x, dx, rows, channels, scale, offset, p, q, r);
}

DM_FOR_EACH_TARGET(sums, template <class T>, (const T* x, int64_t rows, int64_t channels, const float* shift, double* sum, double* squares),
                   sums_body(x, rows, channels, shift, sum, squares))
DM_FOR_EACH_TARGET(apply, template <class T>,
                   (const T* x, const T* residual, T* y, int64_t rows, int64_t channels, const float* scale, const float* offset, bool relu),
                   apply_body(x, residual, y, rows, channels, scale, offset, relu))
DM_FOR_EACH_TARGET(gradient_sums, template <class T>,
                   (const T* dy, const T* x, const T* y, T* masked, int64_t rows, int64_t channels, const float* scale, const float* offset,
                    const float* mean, double* sum, double* products, Mask mask),
                   gradient_sums_body(dy, x, y, masked, rows, channels, scale, offset, mean, sum, products, mask))
DM_FOR_EACH_TARGET(gradient, template <class T>,
                   (const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const float* scale, const float* offset, const float* p,
                    const float* q, const float* r, bool masked),
                   gradient_body(dy, x, dx, rows, channels, scale, offset, p, q, r, masked))

// ---- rows over threads -------------------------------------------------------------------------------------------------------
// Runs work(first, last, totals) on parts of the rows and adds up the parts' totals, in the parts' order.
std::vector<double> summed(int64_t rows, int64_t totals, const std::function<void(int64_t, int64_t, double*)>& work) {
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), rows / 1024));
  std::vector<double> all(parts * totals, 0.0);
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; part++) work(rows * part / parts, rows * (part + 1) / parts, all.data() + part * totals);
  });
  for (int64_t part = 1; part < parts; part++) {
    for (int64_t i = 0; i < totals; i++) all[i] += all[part * totals + i];
  }
  all.resize(totals);
  return all;
}

void over_rows(int64_t rows, int64_t channels, const std::function<void(int64_t, int64_t)>& work) {
  at::parallel_for(0, rows, std::max<int64_t>(1, 65536 / channels), work);
}

at::MemoryFormat format_of(const Tensor& x) { return x.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous; }

std::vector<float> floats(const Tensor& values, int64_t channels, float otherwise) {
  if (!values.defined()) return std::vector<float>(channels, otherwise);
  TORCH_CHECK(values.numel() == channels, "batch norm over ", channels, " channels got ", values.numel(), " values for a per-channel setting");
  const Tensor plain = values.detach().to(at::kFloat).contiguous();
  return std::vector<float>(plain.data_ptr<float>(), plain.data_ptr<float>() + channels);
}

using Sum = int (*)(void* state, double* values, int64_t count);

// The managed callback that sums over the ranks, shared by forward and backward.
struct Ranks {
  Sum sum;
  void (*release)(void*);
  void* state;
  ~Ranks() { release(state); }
  void add(std::vector<double>& values) const {
    if (sum(state, values.data(), static_cast<int64_t>(values.size())) != 0) throw dm::ManagedException();
  }
};

struct BatchNormNode final : Node {
  Tensor x, y;  // y only where a residual was added before ReLU; an alias without history, so no cycle
  at::ScalarType weight_type, bias_type;
  std::vector<float> scale, offset, mean, weight;
  std::vector<double> inverse;  // 1 / sqrt(var + eps)
  double count;
  Mask mask;
  std::shared_ptr<Ranks> ranks;
  bool released = false;

  std::string name() const override { return "FusedBatchNormBackward"; }

  void release_variables() override {
    x.reset();
    y.reset();
    released = true;
  }

  template <class T>
  void run(const Tensor& dy, Tensor& dx, Tensor& masked, std::vector<double>& local) {
    const int64_t channels = static_cast<int64_t>(mean.size()), rows = x.numel() / channels;
    const T *g = dy.data_ptr<T>(), *in = x.data_ptr<T>(), *out = y.defined() ? y.data_ptr<T>() : nullptr;
    T* kept = masked.defined() ? masked.data_ptr<T>() : nullptr;
    local = summed(rows, 2 * channels, [&](int64_t first, int64_t last, double* totals) {
      const int64_t at = first * channels;
      DM_CALL(gradient_sums, g + at, in + at, out == nullptr ? out : out + at, kept == nullptr ? kept : kept + at, last - first, channels, scale.data(),
                                offset.data(), mean.data(), totals, totals + channels, mask);
    });
    for (int64_t c = 0; c < channels; c++) local[channels + c] *= inverse[c];
    std::vector<double> totals = local;
    if (ranks) ranks->add(totals);

    // dx = w / sigma * (dy - mean(dy) - xhat * mean(dy xhat))
    std::vector<float> p(channels), q(channels), r(channels);
    for (int64_t c = 0; c < channels; c++) {
      const double w = weight[c] * inverse[c], slope = -w * inverse[c] * totals[channels + c] / count;
      p[c] = static_cast<float>(w);
      q[c] = static_cast<float>(slope);
      r[c] = static_cast<float>(-w * totals[c] / count - slope * mean[c]);
    }
    const T* source = kept == nullptr ? g : kept;
    T* target = dx.data_ptr<T>();
    over_rows(rows, channels, [&](int64_t first, int64_t last) {
      const int64_t at = first * channels;
      DM_CALL(gradient, source + at, in + at, target + at, last - first, channels, scale.data(), offset.data(), p.data(), q.data(), r.data(), mask == kFromInput);
    });
  }

  variable_list apply(variable_list&& grads) override {
    TORCH_CHECK(!released, "backward through a batch norm a second time: its inputs were freed; pass retain_graph the first time");
    variable_list results(4);
    if (!grads[0].defined()) return results;
    at::NoGradGuard quiet;
    const auto format = format_of(x);
    const Tensor dy = grads[0].to(x.scalar_type()).contiguous(format);
    Tensor dx = at::empty_like(x, x.options(), format), masked;
    if (mask == kFromOutput) masked = at::empty_like(x, x.options(), format);
    std::vector<double> local;
    if (x.scalar_type() == at::kBFloat16) run<c10::BFloat16>(dy, dx, masked, local);
    else run<float>(dy, dx, masked, local);

    const int64_t channels = static_cast<int64_t>(mean.size());
    auto vector = [&](int64_t from, at::ScalarType type) {
      Tensor values = at::empty({channels}, at::kFloat);
      for (int64_t c = 0; c < channels; c++) values.data_ptr<float>()[c] = static_cast<float>(local[from + c]);
      return values.to(type);
    };
    results[0] = dx;
    if (should_compute_output(1)) results[1] = vector(channels, weight_type);
    if (should_compute_output(2)) results[2] = vector(0, bias_type);
    if (should_compute_output(3)) results[3] = masked.defined() ? masked : mask == kNone ? dy : Tensor();
    return results;
  }
};

template <class T>
std::vector<double> local_sums(const Tensor& x, int64_t channels) {
  const int64_t rows = x.numel() / channels;
  const T* in = x.data_ptr<T>();
  // Differences from the first row: squares of what remains do not cancel even where the mean is far from zero.
  std::vector<float> shift(channels, 0.0f);
  for (int64_t c = 0; c < channels && rows > 0; c++) shift[c] = dm::load1(in + c);
  auto totals = summed(rows, 2 * channels, [&](int64_t first, int64_t last, double* part) {
    DM_CALL(sums, in + first * channels, last - first, channels, shift.data(), part, part + channels);
  });
  for (int64_t c = 0; c < channels; c++) {
    const double s = totals[c], k = shift[c];
    totals[channels + c] += 2 * k * s + rows * k * k;
    totals[c] = s + rows * k;
  }
  totals.push_back(static_cast<double>(rows));
  return totals;
}

template <class T>
void apply_to(const Tensor& x, const Tensor& residual, Tensor& y, const std::vector<float>& scale, const std::vector<float>& offset, bool relu) {
  const int64_t channels = static_cast<int64_t>(scale.size());
  const T *in = x.data_ptr<T>(), *add = residual.defined() ? residual.data_ptr<T>() : nullptr;
  T* out = y.data_ptr<T>();
  over_rows(x.numel() / channels, channels, [&](int64_t first, int64_t last) {
    const int64_t at = first * channels;
    DM_CALL(apply, in + at, add == nullptr ? add : add + at, out + at, last - first, channels, scale.data(), offset.data(), relu);
  });
}

void follow(const Tensor& running, const std::vector<double>& batch, double momentum) {
  if (!running.defined()) return;
  TORCH_CHECK(running.scalar_type() == at::kFloat && running.is_contiguous() && running.numel() == static_cast<int64_t>(batch.size()),
              "running statistics must be contiguous float32, one value per channel (", batch.size(), "); got ", running.dtype(), " ", running.sizes());
  float* values = running.data_ptr<float>();
  for (size_t c = 0; c < batch.size(); c++) values[c] = static_cast<float>((1 - momentum) * values[c] + momentum * batch[c]);
}

}  // namespace

// x and residual: float32 or bfloat16, [N, C] contiguous or [N, C, H, W] channels-last. sum may be null; release(state) is called either way
// when state is not null and nothing needs it any more.
DM_API int dm_batch_norm(Handle x_handle, Handle weight_handle, Handle bias_handle, Handle mean_handle, Handle var_handle, double momentum, double eps, int relu,
                         Handle residual_handle, Sum sum, void (*release)(void*), void* state, Handle* out) {
  std::shared_ptr<Ranks> ranks;
  if (sum != nullptr) ranks.reset(new Ranks{sum, release, state});
  return dm::guarded([&] {
    const Tensor x = dm::borrow(x_handle), weight = dm::borrow(weight_handle), bias = dm::borrow(bias_handle), residual = dm::borrow(residual_handle);
    const Tensor running_mean = dm::borrow(mean_handle), running_var = dm::borrow(var_handle);
    const bool half = x.scalar_type() == at::kBFloat16;
    TORCH_CHECK((half || x.scalar_type() == at::kFloat) && (x.dim() == 2 || x.dim() == 4) && x.is_contiguous(format_of(x)),
                "fused batch norm takes float32 or bfloat16, [N, C] contiguous or [N, C, H, W] channels-last; got ", x.dtype(), " ", x.sizes());
    TORCH_CHECK(!residual.defined() || (residual.sizes() == x.sizes() && residual.dtype() == x.dtype() && residual.is_contiguous(format_of(x))),
                "the residual of a fused batch norm must be like its input, ", x.dtype(), " ", x.sizes());
    const int64_t channels = x.size(1);
    Tensor y;
    auto node = std::shared_ptr<BatchNormNode>(new BatchNormNode(), torch::autograd::deleteNode);
    const auto w = floats(weight, channels, 1), b = floats(bias, channels, 0);
    const bool differentiable = torch::autograd::compute_requires_grad(x, weight, bias, residual);
    {
      at::NoGradGuard quiet;
      auto totals = half ? local_sums<c10::BFloat16>(x, channels) : local_sums<float>(x, channels);
      if (ranks) ranks->add(totals);
      const double count = totals[2 * channels];
      TORCH_CHECK(count >= 2, "batch norm needs more than one value per channel; ", x.sizes(), " has ", count);

      std::vector<double> mean(channels), unbiased(channels);
      std::vector<float> scale(channels), offset(channels);
      node->inverse.resize(channels);
      node->mean.resize(channels);
      for (int64_t c = 0; c < channels; c++) {
        mean[c] = totals[c] / count;
        const double variance = std::max(0.0, totals[channels + c] / count - mean[c] * mean[c]);
        unbiased[c] = variance * count / (count - 1);
        node->inverse[c] = 1 / std::sqrt(variance + eps);
        node->mean[c] = static_cast<float>(mean[c]);
        scale[c] = static_cast<float>(w[c] * node->inverse[c]);
        offset[c] = static_cast<float>(b[c] - mean[c] * w[c] * node->inverse[c]);
      }
      follow(running_mean, mean, momentum);
      follow(running_var, unbiased, momentum);
      y = at::empty_like(x, x.options(), format_of(x));
      if (half) apply_to<c10::BFloat16>(x, residual, y, scale, offset, relu != 0);
      else apply_to<float>(x, residual, y, scale, offset, relu != 0);
      node->count = count;
      node->scale = std::move(scale);
      node->offset = std::move(offset);
    }
    if (differentiable) {
      node->weight = w;
      node->weight_type = weight.defined() ? weight.scalar_type() : at::kFloat;
      node->bias_type = bias.defined() ? bias.scalar_type() : at::kFloat;
      node->mask = relu == 0 ? kNone : residual.defined() ? kFromOutput : kFromInput;
      node->x = x.detach();
      if (node->mask == kFromOutput) node->y = y.detach();
      node->ranks = ranks;
      node->set_next_edges(torch::autograd::collect_next_edges(x, weight, bias, residual));
      torch::autograd::set_history(y, node);
    }
    *out = dm::give(std::move(y));
  });
}

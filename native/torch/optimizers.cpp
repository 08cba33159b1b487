// One call per optimizer step: every parameter is read and written once, in one pass with its gradient and its momentum.
#include "rows.h"
#include "shim.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

#include <cmath>

using at::Tensor;
using dm::Handle;

namespace {

template <class T>
DM_INLINE void descend_body(T* p, const T* g, T* m, int64_t n, T decay, T ratio, T lr, T momentum, bool nesterov) {
  for (int64_t i = 0; i < n; i++) {
    const T slope = (g[i] + decay * p[i]) * ratio;
    const T next = momentum * m[i] + slope;
    m[i] = next;
    p[i] -= lr * (nesterov ? slope + momentum * next : next);
  }
}

// Squared lengths of p and of g + decay p, in double.
template <class T>
DM_INLINE void lengths_body(const T* p, const T* g, int64_t n, T decay, double* of_parameter, double* of_gradient) {
  double a[8] = {}, b[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int u = 0; u < 8; u++) {
      const double v = p[i + u], s = static_cast<double>(g[i + u]) + static_cast<double>(decay) * v;
      a[u] += v * v;
      b[u] += s * s;
    }
  }
  for (; i < n; i++) {
    const double v = p[i], s = static_cast<double>(g[i]) + static_cast<double>(decay) * v;
    a[0] += v * v;
    b[0] += s * s;
  }
  for (int u = 0; u < 8; u++) {
    *of_parameter += a[u];
    *of_gradient += b[u];
  }
}

#pragma GCC push_options
#pragma GCC optimize("O3")
DM_FOR_EACH_TARGET(descend, template <class T>, (T* p, const T* g, T* m, int64_t n, T decay, T ratio, T lr, T momentum, bool nesterov),
                   descend_body(p, g, m, n, decay, ratio, lr, momentum, nesterov))
DM_FOR_EACH_TARGET(lengths, template <class T>, (const T* p, const T* g, int64_t n, T decay, double* of_parameter, double* of_gradient),
                   lengths_body(p, g, n, decay, of_parameter, of_gradient))
#pragma GCC pop_options

template <class T>
void step(const Tensor& parameter, const Tensor& gradient, const Tensor& momentum_buffer, double decay, bool adapt, double trust, double lr, double momentum,
          bool nesterov) {
  T *p = parameter.data_ptr<T>(), *m = momentum_buffer.data_ptr<T>();
  const T* g = gradient.data_ptr<T>();
  const int64_t n = parameter.numel();
  double ratio = 1;
  if (adapt) {
    double of_parameter = 0, of_gradient = 0;
    DM_CALL(lengths, p, g, n, static_cast<T>(decay), &of_parameter, &of_gradient);
    if (of_parameter > 0 && of_gradient > 0) ratio = trust * std::sqrt(of_parameter) / std::sqrt(of_gradient);
  }
  DM_CALL(descend, p, g, m, n, static_cast<T>(decay), static_cast<T>(ratio), static_cast<T>(lr), static_cast<T>(momentum), nesterov);
}

}  // namespace

// SGD with momentum; with adapt not null, LARS: where adapt[i] is set the gradient is scaled by its trust ratio first.
// Tensors that belong together have the same dtype (float32 or float64), the same number of elements and the same order in memory.
DM_API int dm_descend(const Handle* parameters, const Handle* gradients, const Handle* momenta, int64_t count, const double* decay, const uint8_t* adapt,
                      double trust, double lr, double momentum, int nesterov) {
  return dm::guarded([&] {
    at::NoGradGuard quiet;
    const auto p = dm::borrow(parameters, count), m = dm::borrow(momenta, count);
    auto g = dm::borrow(gradients, count);
    for (int64_t i = 0; i < count; i++) {
      TORCH_CHECK(p[i].is_non_overlapping_and_dense() && (p[i].scalar_type() == at::kFloat || p[i].scalar_type() == at::kDouble),
                  "parameter ", i, " of an optimizer step must be dense float32 or float64; it is ", p[i].dtype(), " ", p[i].sizes());
      TORCH_CHECK(g[i].sizes() == p[i].sizes() && m[i].sizes() == p[i].sizes() && g[i].dtype() == p[i].dtype() && m[i].dtype() == p[i].dtype(),
                  "parameter ", i, " of an optimizer step is ", p[i].dtype(), " ", p[i].sizes(), ", its gradient ", g[i].dtype(), " ", g[i].sizes(), ", its momentum ",
                  m[i].dtype(), " ", m[i].sizes());
      TORCH_CHECK(m[i].strides() == p[i].strides(), "parameter ", i, " of an optimizer step has the strides ", p[i].strides(), ", its momentum ", m[i].strides());
      if (g[i].strides() != p[i].strides()) g[i] = at::empty_like(p[i]).copy_(g[i]);
    }
    at::parallel_for(0, count, 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const bool adapts = adapt != nullptr && adapt[i] != 0;
        if (p[i].scalar_type() == at::kFloat) step<float>(p[i], g[i], m[i], decay[i], adapts, trust, lr, momentum, nesterov != 0);
        else step<double>(p[i], g[i], m[i], decay[i], adapts, trust, lr, momentum, nesterov != 0);
      }
    });
    // The views and graphs that hold these parameters must see that they changed.
    for (auto& tensor : p) tensor.unsafeGetTensorImpl()->bump_version();
    for (auto& tensor : m) tensor.unsafeGetTensorImpl()->bump_version();
  });
}

// The C face of libtorch that src/Portable/TorchSharp calls. Every function returns 0, or 1 after storing a message for dm_error().
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#define DM_API extern "C" __attribute__((visibility("default")))

namespace dm {

// A handle is an owned reference to a TensorImpl; 0 is the undefined tensor. Arguments are borrowed, results are owned by the caller.
using Handle = at::TensorImpl*;

// Thrown when a managed callback reported an exception; the managed side holds the exception itself.
struct ManagedException final : std::exception {
  const char* what() const noexcept override { return "an exception in a managed callback"; }
};

Handle give(const at::Tensor& tensor);
Handle give(at::Tensor&& tensor);

inline at::Tensor borrow(Handle handle) {
  return handle == nullptr ? at::Tensor()
                           : at::Tensor::wrap_tensor_impl(c10::intrusive_ptr<at::TensorImpl, at::UndefinedTensorImpl>::reclaim_copy(handle));
}

inline std::vector<at::Tensor> borrow(const Handle* handles, int64_t count) {
  std::vector<at::Tensor> tensors;
  tensors.reserve(count);
  for (int64_t i = 0; i < count; i++) tensors.push_back(borrow(handles[i]));
  return tensors;
}

int fail() noexcept;


template <class Body>
int guarded(Body&& body) noexcept {
  try {
    body();
    return 0;
  } catch (...) {
    return fail();
  }
}

}  // namespace dm

DM_API void dm_release(dm::Handle handle);

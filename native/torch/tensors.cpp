// Life, shape and memory of tensors; errors.
#include "shim.h"

#include <ATen/Context.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/Exception.h>

#include <atomic>

namespace dm {

static std::atomic<int64_t> live{0};
static thread_local std::string message;

Handle give(const at::Tensor& tensor) { return give(at::Tensor(tensor)); }

Handle give(at::Tensor&& tensor) {
  if (!tensor.defined()) return nullptr;
  live.fetch_add(1, std::memory_order_relaxed);
  return tensor.unsafeReleaseTensorImpl();
}

int fail() noexcept {
  try {
    throw;
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "an unknown C++ exception";
  }
  return 1;
}

}  // namespace dm

using dm::Handle;

DM_API const char* dm_error() { return dm::message.c_str(); }

DM_API int64_t dm_live_tensors() { return dm::live.load(std::memory_order_relaxed); }

DM_API void dm_release(Handle handle) {
  if (handle == nullptr) return;
  dm::live.fetch_sub(1, std::memory_order_relaxed);
  c10::intrusive_ptr<at::TensorImpl, at::UndefinedTensorImpl>::reclaim(handle);
}

// A second owned reference to the same tensor.
DM_API Handle dm_share(Handle handle) { return dm::give(dm::borrow(handle)); }

DM_API int64_t dm_dim(Handle handle) { return handle->dim(); }
DM_API int64_t dm_numel(Handle handle) { return handle->numel(); }
DM_API int64_t dm_item_size(Handle handle) { return static_cast<int64_t>(handle->itemsize()); }
DM_API int64_t dm_storage_offset(Handle handle) { return handle->storage_offset(); }
DM_API int dm_dtype(Handle handle) { return static_cast<int>(c10::typeMetaToScalarType(handle->dtype())); }
DM_API int dm_is_contiguous(Handle handle) { return handle->is_contiguous(); }
DM_API int dm_is_channels_last(Handle handle) { return handle->dim() == 4 && handle->is_contiguous(at::MemoryFormat::ChannelsLast); }

DM_API int dm_device(Handle handle, int* index) {
  *index = handle->device().index();
  return static_cast<int>(handle->device().type());
}

DM_API void dm_sizes(Handle handle, int64_t* sizes) {
  for (auto size : handle->sizes()) *sizes++ = size;
}

DM_API void dm_strides(Handle handle, int64_t* strides) {
  for (auto stride : handle->strides()) *strides++ = stride;
}

// The address of the first element; nullptr for a tensor without storage.
DM_API void* dm_data(Handle handle) { return handle->has_storage() ? handle->data() : nullptr; }

// A tensor over foreign memory, which release(state) ends.
DM_API int dm_from_memory(void* data, int64_t bytes, int64_t dims, const int64_t* sizes, int dtype, void (*release)(void*), void* state, Handle* out) {
  return dm::guarded([&] {
    auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype));
    auto deleter = [release, state](void*) { release(state); };
    if (bytes == 0) {
      *out = dm::give(at::from_blob(data, at::IntArrayRef(sizes, dims), options).clone());
      release(state);
      return;
    }
    *out = dm::give(at::from_blob(data, at::IntArrayRef(sizes, dims), deleter, options));
  });
}

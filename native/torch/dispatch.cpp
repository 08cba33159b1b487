// One door to every ATen operator: looked up by name, called through the dispatcher, so that autograd and autocast see the call
// exactly as they see one from C++ or Python.
#include "shim.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <torch/library.h>

namespace {

using dm::Handle;

enum Kind : int64_t {
  None, Tensor, Int, Double, Bool, IntList, TensorList, OptionalTensorList, String, Default, DoubleList, Device
};

struct Value {
  int64_t kind;
  int64_t count;  // of a list, or the device index
  union {
    int64_t integer;
    double real;
    const void* pointer;
  };
};

c10::IValue load(const Value& value, const c10::Argument& argument) {
  switch (value.kind) {
    case None: return {};
    case Tensor: return dm::borrow(static_cast<Handle>(const_cast<void*>(value.pointer)));
    case Int: return value.integer;
    case Double: return value.real;
    case Bool: return value.integer != 0;
    case IntList: {
      auto data = static_cast<const int64_t*>(value.pointer);
      return c10::IValue(at::IntArrayRef(data, value.count));
    }
    case DoubleList: {
      auto data = static_cast<const double*>(value.pointer);
      return c10::IValue(std::vector<double>(data, data + value.count));
    }
    case TensorList: return dm::borrow(static_cast<const Handle*>(value.pointer), value.count);
    case OptionalTensorList: {
      c10::List<c10::optional<at::Tensor>> list;
      auto handles = static_cast<const Handle*>(value.pointer);
      for (int64_t i = 0; i < value.count; i++) {
        if (handles[i] == nullptr) list.push_back(c10::nullopt);
        else list.push_back(dm::borrow(handles[i]));
      }
      return list;
    }
    case String: return std::string(static_cast<const char*>(value.pointer), value.count);
    case Device: return c10::Device(static_cast<c10::DeviceType>(value.integer), static_cast<c10::DeviceIndex>(value.count));
    default:
      TORCH_CHECK(argument.default_value().has_value(), "argument '", argument.name(), "' has no default value");
      return *argument.default_value();
  }
}

// Tensor lists come back one tensor after the other, as if they were separate results.
void store(const c10::IValue& result, std::vector<Value>& results) {
  Value value{};
  if (result.isTensor()) {
    value.kind = Tensor;
    value.pointer = dm::give(result.toTensor());
  } else if (result.isTensorList()) {
    for (const at::Tensor& tensor : result.toTensorList()) store(tensor, results);
    return;
  } else if (result.isInt()) {
    value.kind = Int;
    value.integer = result.toInt();
  } else if (result.isDouble()) {
    value.kind = Double;
    value.real = result.toDouble();
  } else if (result.isBool()) {
    value.kind = Bool;
    value.integer = result.toBool();
  } else {
    TORCH_CHECK(result.isNone(), "a result of type ", result.tagKind(), " cannot cross into managed code");
  }
  results.push_back(value);
}

}  // namespace

// name as "aten::add", overload as "Tensor" or "". The result lives as long as the process.
DM_API int dm_operator(const char* name, const char* overload, void** out) {
  return dm::guarded([&] { *out = new c10::OperatorHandle(c10::Dispatcher::singleton().findSchemaOrThrow(name, overload)); });
}

// Missing trailing arguments take the schema's defaults. At most `room` results are written; *written is how many there were.
DM_API int dm_call(const void* op, const Value* arguments, int64_t count, Value* results, int64_t room, int64_t* written) {
  return dm::guarded([&] {
    auto& handle = *static_cast<const c10::OperatorHandle*>(op);
    const auto& schema = handle.schema().arguments();
    TORCH_CHECK(count <= static_cast<int64_t>(schema.size()), handle.schema(), " takes ", schema.size(), " arguments, not ", count);
    torch::jit::Stack stack;
    stack.reserve(schema.size() + 2);
    static const Value absent{Default, 0, {0}};
    for (size_t i = 0; i < schema.size(); i++) stack.push_back(load(static_cast<int64_t>(i) < count ? arguments[i] : absent, schema[i]));
    handle.callBoxed(stack);
    std::vector<Value> all;
    for (const auto& result : stack) store(result, all);
    *written = static_cast<int64_t>(all.size());
    if (*written > room) {
      // The caller asks again with room for all; until then the tensors wait here.
      static thread_local std::vector<Value> waiting;
      waiting = std::move(all);
      *results = Value{Default, *written, {0}};
      results->pointer = waiting.data();
      return;
    }
    std::copy(all.begin(), all.end(), results);
  });
}

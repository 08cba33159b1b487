// Gradients: reading and setting them, backward, managed functions in the graph, and calls back when a gradient is ready.
#include "shim.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/InferenceMode.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>

using dm::Handle;
using torch::autograd::Node;
using torch::autograd::variable_list;

DM_API int dm_requires_grad(Handle handle) { return dm::borrow(handle).requires_grad(); }
DM_API int dm_set_requires_grad(Handle handle, int on) {
  return dm::guarded([&] { dm::borrow(handle).set_requires_grad(on != 0); });
}
DM_API int dm_is_leaf(Handle handle) { return dm::borrow(handle).is_leaf(); }
DM_API int dm_retain_grad(Handle handle) {
  return dm::guarded([&] { dm::borrow(handle).retain_grad(); });
}
DM_API Handle dm_grad(Handle handle) { return dm::give(dm::borrow(handle).grad()); }
DM_API int dm_set_grad(Handle handle, Handle grad) {
  return dm::guarded([&] {
    auto tensor = dm::borrow(handle), value = dm::borrow(grad);
    TORCH_CHECK(!value.defined() || (value.sizes() == tensor.sizes() && value.dtype() == tensor.dtype()),
                "the gradient of a ", tensor.dtype(), " tensor of shape ", tensor.sizes(), " was set to a ", value.dtype(), " tensor of shape ", value.sizes());
    tensor.mutable_grad() = value;
  });
}
DM_API int dm_detach_history(Handle handle) {
  return dm::guarded([&] { dm::borrow(handle).detach_(); });
}

DM_API int dm_backward(const Handle* roots, int64_t count, const Handle* grads, int keep, int create, const Handle* inputs, int64_t inputs_count) {
  return dm::guarded([&] {
    torch::autograd::backward(dm::borrow(roots, count), grads == nullptr ? variable_list() : dm::borrow(grads, count), keep != 0, create != 0,
                              dm::borrow(inputs, inputs_count));
  });
}

DM_API int dm_grads_of(const Handle* roots, int64_t count, const Handle* inputs, int64_t inputs_count, const Handle* grads, int keep, int create, int unused, Handle* out) {
  return dm::guarded([&] {
    auto results = torch::autograd::grad(dm::borrow(roots, count), dm::borrow(inputs, inputs_count), grads == nullptr ? variable_list() : dm::borrow(grads, count),
                                         keep != 0, create != 0, unused != 0);
    for (auto& result : results) *out++ = dm::give(std::move(result));
  });
}

// ---- modes of the calling thread -----------------------------------------------------------------------------------------
DM_API int dm_grad_enabled() { return c10::GradMode::is_enabled(); }
DM_API void dm_set_grad_enabled(int on) { c10::GradMode::set_enabled(on != 0); }
DM_API int dm_inference_enabled() { return c10::InferenceMode::is_enabled(); }
DM_API void* dm_inference_enter(int on) { return new c10::InferenceMode(on != 0); }
DM_API void dm_inference_leave(void* guard) { delete static_cast<c10::InferenceMode*>(guard); }

// ---- managed functions ---------------------------------------------------------------------------------------------------
namespace {

// grads in and out are owned handles; the callback returns 0, or 1 with its exception kept on the managed side.
using Backward = int (*)(void* state, const Handle* grads, int64_t count, Handle* results, int64_t room);
using Release = void (*)(void* state);

struct ManagedNode final : Node {
  Backward backward;
  Release release_state;
  void* state;
  int64_t inputs;
  std::string label;

  ~ManagedNode() override { release_state(state); }
  std::string name() const override { return label; }

  variable_list apply(variable_list&& grads) override {
    std::vector<Handle> in, out(inputs, nullptr);
    for (auto& grad : grads) in.push_back(dm::give(std::move(grad)));
    const bool failed = backward(state, in.data(), static_cast<int64_t>(in.size()), out.data(), inputs) != 0;
    variable_list results;
    for (auto handle : out) results.push_back(handle == nullptr ? at::Tensor() : dm::borrow(handle));
    for (auto handle : out) dm_release(handle);
    if (failed) throw dm::ManagedException();
    return results;
  }
};

struct ReadyHook final : torch::autograd::FunctionPostHook {
  int (*ready)(void* state, int64_t index);
  void* state;
  int64_t index;

  variable_list operator()(const variable_list& outputs, const variable_list&) override {
    if (ready(state, index) != 0) throw dm::ManagedException();
    return outputs;
  }
};

struct Registration {
  std::vector<std::pair<std::shared_ptr<Node>, uintptr_t>> hooks;
  Release release;
  void* state;
};

}  // namespace

// Puts a managed function into the graph: `outputs` (fresh tensors) become functions of `inputs`. The results are owned handles.
DM_API int dm_function(const char* name, const Handle* inputs, int64_t count, const Handle* outputs, const int* differentiable, int64_t outputs_count,
                       Backward backward, Release release, void* state, Handle* results) {
  return dm::guarded([&] {
    auto node = std::shared_ptr<ManagedNode>(new ManagedNode(), torch::autograd::deleteNode);
    node->backward = backward;
    node->release_state = release;
    node->state = state;
    node->inputs = count;
    node->label = name;
    node->set_next_edges(torch::autograd::collect_next_edges(dm::borrow(inputs, count)));
    for (int64_t i = 0; i < outputs_count; i++) {
      // An alias, so that the function's own tensor keeps no history and no cycle can form.
      auto output = dm::borrow(outputs[i]).detach();
      if (differentiable[i] != 0) torch::autograd::set_history(output, node);
      else node->add_input_metadata(Node::undefined_input());
      results[i] = dm::give(std::move(output));
    }
  });
}

// Calls ready(state, i) whenever backward has accumulated the gradient of parameters[i].
DM_API int dm_on_ready(const Handle* parameters, int64_t count, int (*ready)(void*, int64_t), Release release, void* state, void** out) {
  return dm::guarded([&] {
    auto registration = std::make_unique<Registration>();
    for (int64_t i = 0; i < count; i++) {
      auto node = torch::autograd::impl::grad_accumulator(dm::borrow(parameters[i]));
      TORCH_CHECK(node != nullptr, "parameter ", i, " has no gradient accumulator: it is not a leaf that requires a gradient");
      auto hook = std::make_unique<ReadyHook>();
      hook->ready = ready;
      hook->state = state;
      hook->index = i;
      const auto key = node->add_post_hook(std::move(hook));
      registration->hooks.emplace_back(std::move(node), key);
    }
    registration->release = release;
    registration->state = state;
    *out = registration.release();
  });
}

DM_API void dm_off_ready(void* handle) {
  std::unique_ptr<Registration> registration(static_cast<Registration*>(handle));
  for (auto& [node, key] : registration->hooks) node->del_post_hook(key);
  registration->release(registration->state);
}

using System.Runtime.InteropServices;

namespace TorchSharp.Native;

/// <summary>The functions of native/torch, one to one. An int result is 0, or 1 with a message in <see cref="Error"/>, unless its name asks.</summary>
internal static unsafe partial class Shim
{
    private const string Lib = NativeLibraryLoader.Name;

    [LibraryImport(Lib, EntryPoint = "dm_error"), SuppressGCTransition] internal static partial byte* Error();
    [LibraryImport(Lib, EntryPoint = "dm_live_tensors"), SuppressGCTransition] internal static partial long LiveTensors();
    [LibraryImport(Lib, EntryPoint = "dm_release")] internal static partial void Release(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_share"), SuppressGCTransition] internal static partial nint Share(nint handle);

    [LibraryImport(Lib, EntryPoint = "dm_dim"), SuppressGCTransition] internal static partial long Dim(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_numel"), SuppressGCTransition] internal static partial long Numel(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_item_size"), SuppressGCTransition] internal static partial long ItemSize(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_storage_offset"), SuppressGCTransition] internal static partial long StorageOffset(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_dtype"), SuppressGCTransition] internal static partial int DType(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_is_contiguous"), SuppressGCTransition] internal static partial int IsContiguous(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_is_channels_last"), SuppressGCTransition] internal static partial int IsChannelsLast(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_device"), SuppressGCTransition] internal static partial int Device(nint handle, int* index);
    [LibraryImport(Lib, EntryPoint = "dm_sizes"), SuppressGCTransition] internal static partial void Sizes(nint handle, long* sizes);
    [LibraryImport(Lib, EntryPoint = "dm_strides"), SuppressGCTransition] internal static partial void Strides(nint handle, long* strides);
    [LibraryImport(Lib, EntryPoint = "dm_data"), SuppressGCTransition] internal static partial nint Data(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_from_memory")]
    internal static partial int FromMemory(void* data, long bytes, long dims, long* sizes, int dtype, delegate* unmanaged<nint, void> release, nint state, nint* result);

    [LibraryImport(Lib, EntryPoint = "dm_operator")] internal static partial int Operator(byte* name, byte* overload, nint* result);
    [LibraryImport(Lib, EntryPoint = "dm_call")]
    internal static partial int Call(nint op, NativeValue* arguments, long count, NativeValue* results, long room, long* written);

    [LibraryImport(Lib, EntryPoint = "dm_requires_grad"), SuppressGCTransition] internal static partial int RequiresGrad(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_set_requires_grad")] internal static partial int SetRequiresGrad(nint handle, int on);
    [LibraryImport(Lib, EntryPoint = "dm_is_leaf"), SuppressGCTransition] internal static partial int IsLeaf(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_retain_grad")] internal static partial int RetainGrad(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_grad")] internal static partial nint Grad(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_set_grad")] internal static partial int SetGrad(nint handle, nint grad);
    [LibraryImport(Lib, EntryPoint = "dm_detach_history")] internal static partial int DetachHistory(nint handle);
    [LibraryImport(Lib, EntryPoint = "dm_backward")]
    internal static partial int Backward(nint* roots, long count, nint* grads, int keep, int create, nint* inputs, long inputsCount);
    [LibraryImport(Lib, EntryPoint = "dm_grads_of")]
    internal static partial int GradsOf(nint* roots, long count, nint* inputs, long inputsCount, nint* grads, int keep, int create, int unused, nint* results);
    [LibraryImport(Lib, EntryPoint = "dm_function", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Function(
        string name, nint* inputs, long count, nint* outputs, int* differentiable, long outputsCount,
        delegate* unmanaged<nint, nint*, long, nint*, long, int> backward, delegate* unmanaged<nint, void> release, nint state, nint* results);
    [LibraryImport(Lib, EntryPoint = "dm_on_ready")]
    internal static partial int OnReady(
        nint* parameters, long count, delegate* unmanaged<nint, long, int> ready, delegate* unmanaged<nint, void> release, nint state, nint* result);
    [LibraryImport(Lib, EntryPoint = "dm_off_ready")] internal static partial void OffReady(nint registration);

    [LibraryImport(Lib, EntryPoint = "dm_grad_enabled"), SuppressGCTransition] internal static partial int GradEnabled();
    [LibraryImport(Lib, EntryPoint = "dm_set_grad_enabled"), SuppressGCTransition] internal static partial void SetGradEnabled(int on);
    [LibraryImport(Lib, EntryPoint = "dm_inference_enabled"), SuppressGCTransition] internal static partial int InferenceEnabled();
    [LibraryImport(Lib, EntryPoint = "dm_inference_enter")] internal static partial nint InferenceEnter(int on);
    [LibraryImport(Lib, EntryPoint = "dm_inference_leave")] internal static partial void InferenceLeave(nint guard);
    [LibraryImport(Lib, EntryPoint = "dm_autocast_enter")] internal static partial int AutocastEnter(int on);
    [LibraryImport(Lib, EntryPoint = "dm_autocast_leave")] internal static partial void AutocastLeave(int before);

    [LibraryImport(Lib, EntryPoint = "dm_set_threads")] internal static partial void SetThreads(int threads);
    [LibraryImport(Lib, EntryPoint = "dm_get_threads")] internal static partial int GetThreads();
    [LibraryImport(Lib, EntryPoint = "dm_set_interop_threads")] internal static partial int SetInteropThreads(int threads);
    [LibraryImport(Lib, EntryPoint = "dm_get_interop_threads")] internal static partial int GetInteropThreads();
    [LibraryImport(Lib, EntryPoint = "dm_manual_seed")] internal static partial void ManualSeed(ulong seed);
    [LibraryImport(Lib, EntryPoint = "dm_seed")] internal static partial ulong Seed();
    [LibraryImport(Lib, EntryPoint = "dm_initial_seed")] internal static partial ulong InitialSeed();
    [LibraryImport(Lib, EntryPoint = "dm_get_rng_state")] internal static partial int GetRngState(nint* result);
    [LibraryImport(Lib, EntryPoint = "dm_set_rng_state")] internal static partial int SetRngState(nint state);
    [LibraryImport(Lib, EntryPoint = "dm_configuration")] internal static partial byte* Configuration();
    [LibraryImport(Lib, EntryPoint = "dm_instruction_sets")] internal static partial int InstructionSets();

    [LibraryImport(Lib, EntryPoint = "dm_limit_vector_level")] internal static partial void LimitVectorLevel(int level);
    [LibraryImport(Lib, EntryPoint = "dm_batch_norm")]
    internal static partial int BatchNorm(
        nint x, nint weight, nint bias, nint runningMean, nint runningVar, double momentum, double eps, int relu, nint residual,
        delegate* unmanaged<nint, double*, long, int> sum, delegate* unmanaged<nint, void> release, nint state, nint* result);
    [LibraryImport(Lib, EntryPoint = "dm_descend")]
    internal static partial int Descend(
        nint* parameters, nint* gradients, nint* momenta, long count, double* decay, byte* adapt, double trust, double lr, double momentum, int nesterov);
    [LibraryImport(Lib, EntryPoint = "dm_normalize")]
    internal static partial int Normalize(nint images, float* mean, float* deviation, nint* result);

    /// <summary>Turns a failed call into the official package's exception, or into the one a managed callback threw on the way.</summary>
    internal static void Check(int result)
    {
        if (result == 0) return;
        Callbacks.Rethrow();
        throw new ExternalException(Marshal.PtrToStringUTF8((nint)Error()));
    }
}

using System.Runtime.InteropServices;
using TorchSharp.Native;

namespace TorchSharp.Portable;

/// <summary>What the official package does not have and the trainer asks for through its own interface (src/Trainer/Stack).</summary>
public static class Extras
{
    private const int Avx2 = 1, Avx512 = 2, Avx512BFloat16 = 4, AmxBFloat16 = 8;

    /// <summary>How many tensors managed code holds on the native side, in the whole process; for leak tests.</summary>
    public static long LiveNativeTensors => Shim.LiveTensors();

    /// <summary>Whether the CPU multiplies bfloat16 itself (AVX512-BF16 or AMX).</summary>
    public static bool HasBFloat16Arithmetic => (Shim.InstructionSets() & (Avx512BFloat16 | AmxBFloat16)) != 0;

    public static unsafe string Description
    {
        get
        {
            var configuration = Marshal.PtrToStringUTF8((nint)Shim.Configuration())!;
            var version = configuration.Split("TORCH_VERSION=") is [_, var rest, ..] ? rest.Split(',')[0] : "of unknown version";
            var sets = Shim.InstructionSets();
            string[] names = [.. new[] { (Avx2, "AVX2"), (Avx512, "AVX-512"), (Avx512BFloat16, "AVX512-BF16"), (AmxBFloat16, "AMX-BF16") }
                .Where(set => (sets & set.Item1) != 0).Select(set => set.Item2)];
            return $"portable TorchSharp on the system's libtorch {version}, CPU with {(names.Length == 0 ? "the baseline" : string.Join(", ", names))}";
        }
    }

    /// <summary>Autocast to bfloat16 for the calling thread until disposed.</summary>
    public static IDisposable Autocast(bool enabled) => new AutocastScope(enabled);

    /// <summary>A four-dimensional tensor with its channels together in memory, itself if it is stored so already; others unchanged.</summary>
    public static torch.Tensor ToChannelsLast(torch.Tensor x)
    {
        ArgumentNullException.ThrowIfNull(x);
        const int ChannelsLast = 2; // c10::MemoryFormat
        return x.Dimensions == 4 ? Aten.One("contiguous", x, ChannelsLast) : x.alias();
    }

    /// <summary>Calls back on the thread of backward when a leaf's gradient has been accumulated, until disposed.</summary>
    public static unsafe IDisposable OnGradientReady(IReadOnlyList<torch.Tensor> parameters, Action<int> ready)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        ArgumentNullException.ThrowIfNull(ready);
        nint[] handles = [.. parameters.Select(parameter => parameter.Handle)];
        var state = Callbacks.Keep(ready);
        nint registration;
        fixed (nint* start = handles)
        {
            var result = Shim.OnReady(start, handles.Length, &GradientReady, &Callbacks.Free, state, &registration);
            if (result != 0) GCHandle.FromIntPtr(state).Free();
            Shim.Check(result);
        }
        return new Registration(registration);
    }

    [UnmanagedCallersOnly]
    private static int GradientReady(nint state, long index) =>
        Callbacks.Run((state, index), call => Callbacks.Target<Action<int>>(call.state)((int)call.index));

    private sealed class Registration(nint handle) : IDisposable
    {
        public void Dispose()
        {
            if (handle != 0) Shim.OffReady(handle);
            handle = 0;
        }
    }

    private sealed class AutocastScope : IDisposable
    {
        private readonly int before;
        private bool left;

        internal AutocastScope(bool enabled) => before = Shim.AutocastEnter(enabled ? 1 : 0);

        public void Dispose()
        {
            if (!left) Shim.AutocastLeave(before);
            left = true;
        }
    }
}

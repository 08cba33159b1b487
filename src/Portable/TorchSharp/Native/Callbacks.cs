using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace TorchSharp.Native;

/// <summary>
/// Carries exceptions of managed callbacks over native frames: the callback keeps the exception and reports failure, the native side
/// unwinds with a C++ exception, and the managed caller of the native function throws the kept one.
/// </summary>
internal static class Callbacks
{
    [ThreadStatic] private static ExceptionDispatchInfo? kept;

    /// <summary>Runs a callback's body; 0, or 1 with the exception kept.</summary>
    internal static int Run<T>(T state, Action<T> body)
    {
        try
        {
            body(state);
            return 0;
        }
#pragma warning disable CA1031 // Nothing may pass through a native frame; the exception is thrown again on its other side.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            kept = ExceptionDispatchInfo.Capture(exception);
            return 1;
        }
    }

    internal static void Rethrow()
    {
        if (kept is not { } exception) return;
        kept = null;
        exception.Throw();
    }

    internal static nint Keep(object state) => GCHandle.ToIntPtr(GCHandle.Alloc(state));

    internal static T Target<T>(nint state) => (T)GCHandle.FromIntPtr(state).Target!;

    [UnmanagedCallersOnly]
    internal static void Free(nint state)
    {
        var handle = GCHandle.FromIntPtr(state);
        (handle.Target as IDisposable)?.Dispose();
        handle.Free();
    }
}

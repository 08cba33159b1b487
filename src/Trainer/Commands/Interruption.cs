using System.Runtime.InteropServices;

namespace DarkMatter.Trainer.Commands;

/// <summary>Ctrl-C and SIGTERM: the first asks to stop gracefully, the second ends the process at once.</summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly PosixSignalRegistration[] signals;

    public Interruption()
    {
        signals = [PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal), PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal)];
    }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => source.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var signal in signals)
        {
            signal.Dispose();
        }
        source.Dispose();
    }

    private void OnSignal(PosixSignalContext context)
    {
        if (source.IsCancellationRequested)
        {
            // Children have a pipe of this process as their input: they see its end.
            Environment.Exit(ExitCode.Stopped);
        }
        context.Cancel = true;
        source.Cancel();
    }
}

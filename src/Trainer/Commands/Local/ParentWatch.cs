using System.Runtime.InteropServices;

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>
/// Ties a child's life to the process that started it: standard input is a pipe of the parent, and its end means that the parent stopped it or
/// died. Also takes the signals: the parent answers Ctrl-C for the whole group, so a child ignores it.
/// </summary>
internal sealed partial class ParentWatch : IDisposable
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(8);

    private readonly CancellationTokenSource stop = new();
    private readonly CancellationTokenSource orphaned = new();
    private readonly CancellationTokenSource signalled = new();
    private readonly List<PosixSignalRegistration> signals = [];
    private readonly FileStream? presence;

    private ParentWatch(FileStream? presence) => this.presence = presence;

    /// <summary>Cancelled when this process should end.</summary>
    public CancellationToken Stop => stop.Token;

    /// <summary>Cancelled when the process that started this one ended or wants it to end.</summary>
    public CancellationToken Orphaned => orphaned.Token;

    /// <summary>Cancelled by a signal to this process alone.</summary>
    public CancellationToken Signalled => signalled.Token;

    /// <summary>Begins to watch.</summary>
    /// <param name="runFolder">
    /// The run folder of the <c>pretrain</c> that started this process; null when it was started by hand or by a cluster, which stop it with
    /// SIGTERM or Ctrl-C.
    /// </param>
    public static ParentWatch Begin(string? runFolder)
    {
        var watch = new ParentWatch(runFolder is null ? null : RunFolder.BePresent(runFolder));
        watch.signals.Add(PosixSignalRegistration.Create(PosixSignal.SIGTERM, watch.OnSignal));
        watch.signals.Add(PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
        {
            context.Cancel = true;
            if (runFolder is null)
            {
                watch.OnSignal(context);
            }
        }));
        if (runFolder is not null)
        {
            // Out of the terminal's group: its Ctrl-C is the parent's to answer.
            _ = Native.SetProcessGroup(0, 0);
            new Thread(watch.WaitForEndOfInput) { IsBackground = true, Name = "parent watch" }.Start();
        }
        return watch;
    }

    /// <summary>Stops watching.</summary>
    public void Dispose()
    {
        foreach (var signal in signals)
        {
            signal.Dispose();
        }
        presence?.Dispose();
    }

    private static partial class Native
    {
        [LibraryImport("libc", EntryPoint = "setpgid")]
        internal static partial int SetProcessGroup(int processId, int group);
    }

    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        signalled.Cancel();
        stop.Cancel();
    }

    private void WaitForEndOfInput()
    {
        using var input = Console.OpenStandardInput();
        var buffer = new byte[64];
        try
        {
            while (input.Read(buffer) > 0)
            {
            }
        }
        catch (IOException)
        {
            // As good as its end.
        }
        orphaned.Cancel();
        stop.Cancel();
        Thread.Sleep(Grace);
        // Asked to stop and still here: something hangs. Nobody is left to read an explanation, and nothing unpublished may be trusted.
        Environment.Exit(ExitCode.Failed);
    }
}

using System.Diagnostics;
using System.Threading.Channels;

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>How a child ended.</summary>
/// <param name="Name">The child's name in the run.</param>
/// <param name="ProcessId">Its process id.</param>
/// <param name="Code">Its exit code; 128 + n after signal n.</param>
public sealed record ChildExit(string Name, int ProcessId, int Code)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Name} (process {ProcessId}) {ExitCode.Describe(Code)}";
}

/// <summary>
/// A process of this same program, started for a local run. Its output goes to a log file; the last lines are kept for messages. It has a
/// pipe as standard input, and stops when that closes: so it never outlives this process, however this one ends.
/// </summary>
public sealed class ChildProcess : IAsyncDisposable
{
    /// <summary>Lines of output that are kept in memory.</summary>
    public const int KeptLines = 40;

    private static readonly TimeSpan OutputDrain = TimeSpan.FromSeconds(2);

    private readonly Process process;
    private readonly StreamWriter log;
    private readonly Queue<string> lastLines = [];
    private readonly Channel<string> output = Channel.CreateBounded<string>(new BoundedChannelOptions(256) { FullMode = BoundedChannelFullMode.DropOldest });
    private bool disposed;

    private ChildProcess(string name, Process process, StreamWriter log, string logPath)
    {
        this.process = process;
        this.log = log;
        Name = name;
        LogPath = logPath;
        Id = process.Id;
        var lines = Task.WhenAll(PumpAsync(process.StandardOutput, output.Writer), PumpAsync(process.StandardError, null));
        Exited = WaitAsync(lines);
    }

    /// <summary>The child's name in the run: <c>silo</c>, <c>trainer-0</c>.</summary>
    public string Name { get; }

    /// <summary>Its process id.</summary>
    public int Id { get; }

    /// <summary>The file that gets its output.</summary>
    public string LogPath { get; }

    /// <summary>Completes when the process has ended. Never faults.</summary>
    public Task<ChildExit> Exited { get; }

    /// <summary>The last lines it wrote, oldest first.</summary>
    public IReadOnlyList<string> LastLines
    {
        get
        {
            lock (lastLines)
            {
                return [.. lastLines];
            }
        }
    }

    /// <summary>Starts <c>darkmatter</c> with these arguments.</summary>
    /// <param name="name">The child's name in messages.</param>
    /// <param name="arguments">The command line after the program.</param>
    /// <param name="environment">Variables added to this process's own.</param>
    /// <param name="logPath">Where its output goes; appended to.</param>
    public static ChildProcess Start(string name, IEnumerable<string> arguments, IReadOnlyDictionary<string, string> environment, string logPath)
    {
        var (program, prefix) = SelfInvocation.Find();
        return Start(name, program, [.. prefix, .. arguments], environment, logPath);
    }

    /// <summary>Starts any program as a child; see the other overload.</summary>
    public static ChildProcess Start(string name, string program, IEnumerable<string> arguments, IReadOnlyDictionary<string, string> environment, string logPath)
    {
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }
        foreach (var (key, value) in environment)
        {
            start.Environment[key] = value;
        }
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(logPath))!);
        var log = new StreamWriter(new FileStream(logPath, FileMode.Append, FileAccess.Write, FileShare.ReadWrite)) { AutoFlush = true };
        try
        {
            return new ChildProcess(name, Process.Start(start)!, log, logPath);
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or InvalidOperationException)
        {
            log.Dispose();
            throw new CommandException(ExitCode.Failed, $"{name} cannot be started: {program}: {e.Message}", e);
        }
    }

    /// <summary>The next line of its standard output that <paramref name="wanted"/> accepts; null when it ends without one.</summary>
    /// <exception cref="TimeoutException">No such line within <paramref name="deadline"/>.</exception>
    public async Task<string?> ReadLineAsync(Func<string, bool> wanted, TimeSpan deadline, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(deadline);
        try
        {
            await foreach (var line in output.Reader.ReadAllAsync(limit.Token))
            {
                if (wanted(line))
                {
                    return line;
                }
            }
            return null;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"{Name} (process {Id}) was not ready within {deadline.TotalSeconds:0} s; its log is {LogPath}");
        }
    }

    /// <summary>Asks it to stop: closes its standard input.</summary>
    public void AskToStop()
    {
        try
        {
            process.StandardInput.Close();
        }
        catch (Exception e) when (e is IOException or InvalidOperationException)
        {
            // It has ended already.
        }
    }

    /// <summary>Asks it to stop, waits up to <paramref name="patience"/>, and kills what is left.</summary>
    public async Task<ChildExit> StopAsync(TimeSpan patience)
    {
        AskToStop();
        await Task.WhenAny(Exited, Task.Delay(patience));
        if (!Exited.IsCompleted)
        {
            Kill();
        }
        return await Exited;
    }

    /// <summary>Ends it at once.</summary>
    public void Kill()
    {
        try
        {
            process.Kill(entireProcessTree: true);
        }
        catch (InvalidOperationException)
        {
            // It has ended already.
        }
    }

    /// <summary>Kills it if it still runs, and closes its log.</summary>
    public async ValueTask DisposeAsync()
    {
        if (disposed)
        {
            return;
        }
        disposed = true;
        Kill();
        await Exited;
        await log.DisposeAsync();
        process.Dispose();
    }

    private async Task<ChildExit> WaitAsync(Task lines)
    {
        await process.WaitForExitAsync(CancellationToken.None);
        // A grandchild that inherited the pipes could keep them open: the output gets a moment, not for ever.
        await Task.WhenAny(lines, Task.Delay(OutputDrain));
        output.Writer.TryComplete();
        return new ChildExit(Name, Id, process.ExitCode);
    }

    private async Task PumpAsync(StreamReader from, ChannelWriter<string>? to)
    {
        try
        {
            while (await from.ReadLineAsync() is { } line)
            {
                lock (lastLines)
                {
                    lastLines.Enqueue(line);
                    if (lastLines.Count > KeptLines)
                    {
                        lastLines.Dequeue();
                    }
                    log.WriteLine(line);
                }
                to?.TryWrite(line);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The pipe or the log closed under the reader: nothing more can be read.
        }
    }
}

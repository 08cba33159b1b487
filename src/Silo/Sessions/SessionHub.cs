using System.Collections.Concurrent;
using System.Collections.Immutable;
using DarkMatter.Grains;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans;
using Orleans.Runtime;

namespace DarkMatter.Silo;

/// <summary>
/// All runs with sessions at this silo. At start it takes up the runs that an earlier silo left behind: their trainers come back to it. At stop it
/// lets go of its trainers, before the web server and the grains stop; they go on and come back to the next.
/// </summary>
internal sealed partial class SessionHub(IGrainFactory grains, SiloOptions options, TimeProvider time, ILogger<SessionHub> log)
    : IHostedLifecycleService, IDisposable
{
    private readonly ConcurrentDictionary<string, (RunSessions Sessions, Task Loop)> _runs = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Lock _gate = new();

    /// <summary>True between the end of start-up and the beginning of stopping.</summary>
    public bool IsReady { get; private set; }

    /// <summary>The run's sessions; its loop runs until the run ends.</summary>
    public RunSessions Of(string run)
    {
        lock (_gate)
        {
            if (_runs.TryGetValue(run, out var known))
            {
                known.Sessions.IsWanted = true;
                return known.Sessions;
            }

            var sessions = new RunSessions(run, grains, time, log);
            _runs[run] = (sessions, Task.Run(() => Loop(run, sessions)));
            return sessions;
        }
    }

    /// <summary>Has a run looked at now, if it lives here.</summary>
    public void Hurry(string run)
    {
        if (_runs.TryGetValue(run, out var known))
        {
            known.Sessions.Hurry();
        }
    }

    /// <summary>Takes up the runs that lived when an earlier silo ended.</summary>
    public async Task StartedAsync(CancellationToken cancellationToken)
    {
        foreach (string name in await Names())
        {
            try
            {
                await TakeUp(name);
            }
            catch (OrleansException exception)
            {
                // One damaged run does not keep the others from training; whoever asks for it is told the same.
                LogUnreadable(log, name, exception.Message);
            }
        }

        IsReady = true;
    }

    /// <summary>Lets go of the trainers of the runs that still live.</summary>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        IsReady = false;
        await _stopping.CancelAsync();
        // A run that ended by itself is no longer among them.
        foreach (var (run, (sessions, loop)) in _runs)
        {
            try
            {
                await loop.WaitAsync(cancellationToken);
                await sessions.Disconnect();
            }
            catch (Exception exception)
            {
                LogStopFailed(log, run, exception.Message);
            }
        }
    }

    /// <inheritdoc/>
    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public void Dispose() => _stopping.Dispose();

    private async Task<ImmutableArray<string>> Names()
    {
        try
        {
            return await grains.GetGrain<IRunListGrain>(IRunListGrain.Key).Names();
        }
        catch (OrleansException exception)
        {
            throw new SiloStartException($"The list of runs cannot be read. {exception.Message}", exception);
        }
    }

    private async Task TakeUp(string name)
    {
        if (await grains.GetGrain<IRunGrain>(name).Get() is { IsLive: true } run)
        {
            await grains.GetGrain<IRosterGrain>(name).Reopen(options.Roster);
            LogTakenUp(log, name, run.State, run.Progress.Generation, run.Progress.Step);
            Of(name);
        }
    }

    private async Task Loop(string run, RunSessions sessions)
    {
        try
        {
            while (true)
            {
                await sessions.Loop(_stopping.Token);
                lock (_gate)
                {
                    if (!sessions.IsWanted)
                    {
                        _runs.TryRemove(run, out _);
                        return;
                    }

                    // It was resumed, or a trainer came, while its end was told.
                    sessions.IsWanted = false;
                }
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The silo stops; StoppingAsync lets the trainers go.
        }
    }

    [LoggerMessage(LogLevel.Information, "Run {Run} is taken up again: {State} in generation {Generation} at step {Step}; its trainers come back or are replaced")]
    private static partial void LogTakenUp(ILogger log, string run, RunState state, long generation, long step);

    [LoggerMessage(LogLevel.Error, "Run {Run} cannot be read: {Problem}")]
    private static partial void LogUnreadable(ILogger log, string run, string problem);

    [LoggerMessage(LogLevel.Warning, "Run {Run} could not be let go while the silo stops: {Problem}")]
    private static partial void LogStopFailed(ILogger log, string run, string problem);
}

using System.Diagnostics.CodeAnalysis;
using DarkMatter.Grains;
using Microsoft.Extensions.Logging;
using Orleans;

namespace DarkMatter.Silo;

/// <summary>
/// The sessions of one run at this silo. One loop gathers what all trainers said, reports it to the roster in one call, and tells the
/// trainers what the roster answers: some times a second, and at once when something ends or joins.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "The semaphore holds no handle, and late streams may still knock on it.")]
internal sealed partial class RunSessions
{
    /// <summary>Time between reports when nothing hurries.</summary>
    private static readonly TimeSpan s_period = TimeSpan.FromMilliseconds(200);

    /// <summary>Time before a failed report is tried again.</summary>
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly List<TrainerSession> _sessions = [];
    private readonly SemaphoreSlim _hurry = new(0, 1);
    private readonly string _run;
    private readonly IRosterGrain _roster;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private long _knownGeneration;
    private Seating? _seating;
    private string _toldEnd = "";

    public RunSessions(string run, IGrainFactory grains, TimeProvider time, ILogger log)
    {
        _run = run;
        _roster = grains.GetGrain<IRosterGrain>(run);
        _time = time;
        _log = log;
        Observed = new ObservedTime(time);
    }

    public ObservedTime Observed { get; }

    /// <summary>Lets a trainer in, or says why not.</summary>
    public async Task<JoinAnswer> Join(TrainerSession session)
    {
        var answer = await _roster.Join(session.Request);
        if (answer.Refusal == Refusal.None)
        {
            lock (_gate)
            {
                _sessions.Add(session);
            }

            LogJoined(_log, _run, session.Name, session.Request.ProcessId, session.Request.Address);
            Hurry();
        }

        return answer;
    }

    /// <summary>The stream of a session is over.</summary>
    public void Closed(TrainerSession session)
    {
        session.Closed();
        Hurry();
    }

    /// <summary>Reports without waiting for the period.</summary>
    public void Hurry()
    {
        try
        {
            _hurry.Release();
        }
        catch (SemaphoreFullException)
        {
            // Already hurrying.
        }
    }

    /// <summary>Somebody asked for these sessions since the loop last looked at its run. Guarded by the hub's lock.</summary>
    public bool IsWanted { get; set; }

    /// <summary>Runs until the run ends or the silo stops.</summary>
    public async Task Loop(CancellationToken cancellation)
    {
        while (true)
        {
            Observed.Tick();
            var sessions = Sessions();
            var reports = Array.ConvertAll(sessions, s => s.Report());
            var wait = s_period;
            try
            {
                var view = await _roster.Report(new SiloReport { Members = [.. reports], KnownGeneration = _knownGeneration });
                for (int i = 0; i < sessions.Length; i++)
                {
                    sessions[i].Reported(reports[i]);
                }

                Apply(view, sessions);
                if (view.Ended)
                {
                    if (_toldEnd != view.Reason)
                    {
                        LogEnded(_log, _run, view.State, view.Reason);
                        _toldEnd = view.Reason;
                    }

                    return;
                }
            }
            catch (Exception exception) when (exception is not OperationCanceledException)
            {
                LogReportFailed(_log, _run, exception.Message);
                wait = s_retry;
            }

            await _hurry.WaitAsync(wait, cancellation);
        }
    }

    /// <summary>The silo stops: the run's end is stored first, then the trainers hear of it.</summary>
    public async Task Interrupt(string reason)
    {
        await _roster.Interrupt(reason);
        EndAll(Sessions(), reason, failed: true);
    }

    private TrainerSession[] Sessions()
    {
        lock (_gate)
        {
            return [.. _sessions];
        }
    }

    private void Apply(RosterView view, TrainerSession[] sessions)
    {
        if (view.Seating is { } seating)
        {
            _seating = seating;
            _toldEnd = "";
            _knownGeneration = seating.Generation;
            LogBegan(_log, _run, seating.Generation, seating.Seats.Length, seating.StartStep);
        }

        if (view.Ended)
        {
            // Only those the answer was about: one that joined meanwhile belongs to the next life of the run.
            EndAll(sessions, view.Reason, failed: view.State == RunState.Failed);
            return;
        }

        foreach (var session in Sessions())
        {
            if (_seating is not null)
            {
                session.Assign(_seating);
            }

            if (view.StopRequested)
            {
                session.Stop(view.Reason, failed: false);
            }
        }
    }

    private void EndAll(TrainerSession[] sessions, string reason, bool failed)
    {
        foreach (var session in sessions)
        {
            session.Stop(reason, failed);
            session.End();
        }

        lock (_gate)
        {
            _sessions.RemoveAll(sessions.Contains);
        }
    }

    [LoggerMessage(LogLevel.Information, "Run {Run}: {Trainer} (pid {ProcessId}, {Address}) joined")]
    private static partial void LogJoined(ILogger log, string run, string trainer, int processId, string address);

    [LoggerMessage(LogLevel.Information, "Run {Run}: generation {Generation} began with {World} trainers at step {Step}")]
    private static partial void LogBegan(ILogger log, string run, long generation, int world, long step);

    [LoggerMessage(LogLevel.Information, "Run {Run}: {State}. {Reason}")]
    private static partial void LogEnded(ILogger log, string run, RunState state, string reason);

    [LoggerMessage(LogLevel.Warning, "Run {Run}: the report to its roster failed and will be repeated: {Problem}")]
    private static partial void LogReportFailed(ILogger log, string run, string problem);
}

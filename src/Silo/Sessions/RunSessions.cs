using System.Diagnostics.CodeAnalysis;
using DarkMatter.Grains;
using Grpc.Core;
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
    private static readonly TimeSpan s_period = TimeSpan.FromMilliseconds(100);

    /// <summary>The same while nobody is there.</summary>
    private static readonly TimeSpan s_idlePeriod = TimeSpan.FromSeconds(1);

    /// <summary>Time before a failed report is tried again.</summary>
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    /// <summary>How long trainers may take to hear that the silo stops.</summary>
    private static readonly TimeSpan s_farewell = TimeSpan.FromSeconds(2);

    private readonly Lock _gate = new();
    private readonly List<TrainerSession> _sessions = [];
    private readonly SemaphoreSlim _hurry = new(0, 1);
    private readonly string _run;
    private readonly IRosterGrain _roster;
    private readonly ILogger _log;
    private Seating? _seating;
    private RunState _toldState;

    public RunSessions(string run, IGrainFactory grains, TimeProvider time, ILogger log)
    {
        _run = run;
        _roster = grains.GetGrain<IRosterGrain>(run);
        _log = log;
        Observed = new ObservedTime(time);
    }

    public ObservedTime Observed { get; }

    /// <summary>Somebody asked for these sessions since the loop last looked at its run. Guarded by the hub's lock.</summary>
    public bool IsWanted { get; set; }

    /// <summary>Lets a trainer in, or says why not. Its earlier stream, if it had one, is over.</summary>
    public async Task<JoinAnswer> Join(TrainerSession session)
    {
        var answer = await _roster.Join(session.Request);
        if (answer.Refusal == Refusal.None)
        {
            session.Welcome(answer);
            TrainerSession[] earlier;
            lock (_gate)
            {
                earlier = [.. _sessions.Where(s => s.Name == session.Name)];
                _sessions.RemoveAll(earlier.Contains);
                _sessions.Add(session);
            }

            Array.ForEach(earlier, s => s.End(Evicted(s.Name)));
            LogJoined(_log, _run, session.Name, session.Request.ProcessId, session.Request.Address, answer.KeepsPlace ? "came back" : "joined");
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

    /// <summary>Runs until the run ends or the silo stops.</summary>
    public async Task Loop(CancellationToken cancellation)
    {
        while (true)
        {
            Observed.Tick();
            var sessions = Sessions();
            var reports = Array.ConvertAll(sessions, s => s.Report());
            var wait = sessions.Length > 0 ? s_period : s_idlePeriod;
            try
            {
                var view = await _roster.Report(new SiloReport { Members = [.. reports], KnownGeneration = _seating?.Generation ?? 0 });
                for (int i = 0; i < sessions.Length; i++)
                {
                    sessions[i].Reported(reports[i]);
                }

                Apply(view, sessions, reports);
                if (view.Ended)
                {
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

    /// <summary>The silo stops. The run lives on: its trainers go on and come back when a silo answers again.</summary>
    public async Task Disconnect()
    {
        var status = new RpcException(new Status(StatusCode.Unavailable, "the silo stops; go on, and come back to it later"));
        var sessions = Sessions();
        Array.ForEach(sessions, session => session.End(status));
        await Task.WhenAll(sessions.Select(session => session.Ended.Task)).WaitAsync(s_farewell).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private static RpcException Evicted(string name) => new(new Status(
        StatusCode.Aborted, $"{name} counts as lost, or came back by another session: it leaves its generation and joins anew"));

    private TrainerSession[] Sessions()
    {
        lock (_gate)
        {
            return [.. _sessions];
        }
    }

    private void Apply(RosterView view, TrainerSession[] sessions, MemberReport[] reports)
    {
        if (view.Seating is { } seating)
        {
            _seating = seating;
            LogFormed(_log, _run, seating.Reason);
        }

        if (view.State != _toldState && view.State != RunState.Training)
        {
            LogState(_log, _run, view.State, view.Reason);
        }

        _toldState = view.State;
        if (view.Ended)
        {
            // Only those the answer was about: one that joined meanwhile belongs to the next life of the run.
            EndAll(sessions, view.Reason, failed: view.State == RunState.Failed);
            return;
        }

        for (int i = 0; i < sessions.Length; i++)
        {
            if (view.Strangers.Contains(reports[i].Session))
            {
                Remove(sessions[i], Evicted(sessions[i].Name));
                continue;
            }

            Tell(sessions[i], view);
            if (reports[i].Presence != Presence.Connected)
            {
                Remove(sessions[i], null);
            }
        }
    }

    private void Tell(TrainerSession session, RosterView view)
    {
        if (view.Released.Contains(session.Request.Session))
        {
            session.Release(view.Reason, view.State == RunState.Training ? view.Generation : 0);
        }

        if (view.State != RunState.Training)
        {
            session.Hold(view);
        }
        else if (_seating is not null)
        {
            session.Assign(_seating);
        }

        if (view.StopRequested)
        {
            session.Stop(view.Reason);
        }
    }

    private void Remove(TrainerSession session, RpcException? status)
    {
        session.End(status);
        lock (_gate)
        {
            _sessions.Remove(session);
        }
    }

    private void EndAll(TrainerSession[] sessions, string reason, bool failed)
    {
        foreach (var session in sessions)
        {
            session.Over(reason, failed);
            Remove(session, null);
        }
    }

    [LoggerMessage(LogLevel.Information, "Run {Run}: {Trainer} (pid {ProcessId}, {Address}) {How}")]
    private static partial void LogJoined(ILogger log, string run, string trainer, int processId, string address, string how);

    [LoggerMessage(LogLevel.Information, "Run {Run}: {Reason}")]
    private static partial void LogFormed(ILogger log, string run, string reason);

    [LoggerMessage(LogLevel.Information, "Run {Run}: {State}. {Reason}")]
    private static partial void LogState(ILogger log, string run, RunState state, string reason);

    [LoggerMessage(LogLevel.Warning, "Run {Run}: the report to its roster failed and will be repeated: {Problem}")]
    private static partial void LogReportFailed(ILogger log, string run, string problem);
}

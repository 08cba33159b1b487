using System.Collections.Immutable;
using DarkMatter.Grains;

namespace DarkMatter.Simulation;

/// <summary>
/// What RosterGrain, RunGrain and CheckpointGrain keep in memory, and how a report changes it: the same functions in the same order, without
/// storage. Each change of the run's record is an entry of <see cref="Writes"/>, which must be durable before anybody hears of it.
/// </summary>
internal sealed class SiloRoster
{
    private static readonly TimeSpan ProgressDelay = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _time;
    private readonly long _epoch;
    private Kept _kept;

    public SiloRoster(TimeProvider time, RunRecord stored, RosterOptions options)
    {
        _time = time;
        _epoch = time.GetTimestamp();
        Options = options;
        var view = Run.View(World.RunName, stored, 0);
        ImmutableArray<Seat> seats = stored.IsLive ? stored.Seats : [];
        _kept = new Kept
        {
            Run = stored,
            Progress = stored.Progress,
            HoldAtOnce = true,
            Seating = seats.IsEmpty ? null : Seating(view, seats, atOnce: true),
            Members = new RosterMembers
            {
                World = stored.Plan.World,
                MinWorld = stored.Plan.MinWorld,
                MaxWorld = stored.Plan.LargestWorld,
                State = stored.State,
                Generation = stored.Generation,
                Formed = view.Formed,
                Began = view.Began,
                StartStep = stored.Progress.Step,
                OpenedAt = Now,
                FormedAt = Now,
                PauseReason = stored.State == RunState.Paused ? stored.Reason : null,
                StopRequestedAt = stored.StopReason.Length > 0 ? Now : null,
                StopReason = stored.StopReason,
                Saving = view.Saving,
                SavedStep = view.Checkpoint?.Step ?? 0,
                TotalSteps = stored.TotalSteps,
                All =
                [
                    .. seats.Select(s => new RosterMember
                    {
                        Name = s.Name, Incarnation = s.Incarnation, Address = s.Address, ProcessId = s.ProcessId, Rank = s.Rank,
                        Presence = Presence.Away, LastHeard = Now, Prepared = true,
                    }),
                ],
            },
        };
    }

    public RosterOptions Options { get; }

    public RunRecord Record => _kept.Run;

    public RosterMembers Members => _kept.Members;

    /// <summary>Records that must be stored, in this order, before what was decided may be told.</summary>
    public List<RunRecord> Writes { get; } = [];

    /// <summary>What to go back to when storing fails.</summary>
    public object Snapshot => _kept;

    private TimeSpan Now => _time.GetElapsedTime(_epoch);

    public void GoBack(object snapshot) => _kept = (Kept)snapshot;

    public JoinAnswer Join(JoinRequest join)
    {
        if (!_kept.Run.IsLive)
            return new JoinAnswer { Refusal = Refusal.FailedPrecondition, Message = "the run is over" };
        if (Admission.Refuse(World.RunName, Now, _kept.Members, join, "", Options) is { } refusal)
            return refusal;
        Set(_kept.Members.Admit(Now, join));
        bool keeps = _kept.Members.State == RunState.Training && _kept.Members.All.Any(m => m.Session == join.Session && m.Seated);
        return new JoinAnswer { KeepsPlace = keeps, Brief = Brief(_kept.Run) };
    }

    public RosterView Report(SiloReport report)
    {
        if (_kept.Run.IsLive)
        {
            foreach (var news in report.Members)
                Set(_kept.Members.Hear(Now, news));
            foreach (var news in report.Members.Where(news => news.Generation == _kept.Members.Generation))
            {
                if (_kept.Members.All.FirstOrDefault(m => m.Session == news.Session && m.Seated) is { Rank: 0 })
                    TakeInFromRankZero(news);
            }

            foreach (var news in report.Members.Where(news => !news.Lineage.IsEmpty && _kept.Members.Knows(news)))
            {
                Become(Run.Prove(_kept.Run, news.Lineage));
                _kept = _kept with { Progress = _kept.Progress with { Step = Math.Max(_kept.Progress.Step, _kept.Run.Progress.Step) } };
            }

            if (_kept.Members.State != RunState.Training || _kept.Members.Saving || _kept.Members.Seated.Any(m => m.Presence == Presence.Completed))
                LookAtCheckpoints();
            _kept = _kept with { Progress = Progress() };
            ReportProgress();
            Act(Roster.Decide(Now, _kept.Members, Options));
        }

        return View(report);
    }

    public void Stop(string reason)
    {
        if (!_kept.Run.IsLive)
            return;
        Become(Run.AskToStop(_kept.Run, reason));
        LookAtCheckpoints();
        Ask(members => members.StopRequestedAt is null ? members with { StopRequestedAt = Now, StopReason = reason } : members);
    }

    public void Pause() => Ask(members => members with { PauseReason = "Paused." });

    public void Unpause() => Ask(members => members with { PauseReason = null });

    public RunChange NoteCheckpoint(CheckpointRecord checkpoint)
    {
        var change = Run.NoteCheckpoint(World.RunName, _kept.Run, checkpoint);
        if (change.Next is { } next)
            Become(next);
        return change;
    }

    private void Ask(Func<RosterMembers, RosterMembers> change)
    {
        if (!_kept.Run.IsLive)
            return;
        Set(change(_kept.Members));
        Act(Roster.Decide(Now, _kept.Members, Options));
    }

    private void LookAtCheckpoints()
    {
        long saved = _kept.Run.Checkpoints.IsEmpty ? 0 : _kept.Run.Checkpoints[0].Step;
        Set(_kept.Members with
        {
            SavedStep = saved,
            FinalCheckpoint = saved >= _kept.Run.TotalSteps && _kept.Members.Seated.Any(m => m.Presence == Presence.Completed),
        });
    }

    private void TakeInFromRankZero(MemberReport news)
    {
        if (news.Beginning is { } beginning && beginning.Generation == _kept.Members.Generation && !_kept.Members.Began)
        {
            Become(Run.Began(_kept.Run, beginning, _time.GetUtcNow()));
            Set(_kept.Members.Begin(beginning.StartStep));
            _kept = _kept with { Progress = _kept.Run.Progress };
        }

        if (news.DigestStep > _kept.Progress.DigestStep)
            _kept = _kept with { Progress = _kept.Progress with { DigestStep = news.DigestStep, SamplesDigest = news.SamplesDigest } };
    }

    private void ReportProgress()
    {
        var next = Run.Report(_kept.Run, _kept.Progress);
        if (ReferenceEquals(next, _kept.Run))
            return;
        _kept = _kept with { Run = next };
        if (Now - _kept.WrittenAt >= ProgressDelay)
            Become(next with { Reason = next.Reason });
    }

    private void Act(RosterDecision decision)
    {
        if (decision.Begins)
        {
            Form(decision);
        }
        else if (decision.State is not (RunState.Waiting or RunState.Training or RunState.Paused))
        {
            Become(Run.End(Run.Report(_kept.Run, Progress()), decision.State, decision.Reason));
        }
        else if (decision.State != _kept.Members.State)
        {
            Become(Run.Hold(Run.Report(_kept.Run, Progress()), decision.State, decision.Reason));
            _kept = _kept with { HoldAtOnce = decision.AtOnce };
        }

        Set(_kept.Members.After(Now, decision, Options));
    }

    private void Form(RosterDecision decision)
    {
        long number = _kept.Run.Generation + 1;
        ImmutableArray<Seat> seats =
        [
            .. decision.Next.Select(m => new Seat
            {
                Rank = m.Rank, Name = m.Name, Incarnation = m.Incarnation, Address = m.Address, ProcessId = m.ProcessId,
                Lanes = LaneShare.Of(m.Rank, decision.Next.Length, _kept.Run.Plan.Lanes),
            }),
        ];
        var generation = new GenerationRecord
        {
            Number = number,
            StartStep = Progress().Step,
            Trainers = [.. seats.Select(s => s.Name)],
            Lanes = _kept.Run.Plan.Lanes,
            Reason = decision.Reason,
            Saving = decision.Saving,
        };
        Become(Run.BeginGeneration(_kept.Run, generation, seats));
        Set(_kept.Members with { Generation = number - 1 });
        _kept = _kept with { Progress = _kept.Run.Progress, Seating = Seating(Run.View(World.RunName, _kept.Run, 0), seats, decision.AtOnce) };
    }

    private RunProgress Progress() => _kept.Progress with
    {
        Generation = _kept.Members.Generation,
        Step = _kept.Members.CommittedStep ?? _kept.Progress.Step,
    };

    private RosterView View(SiloReport report) => new()
    {
        Generation = _kept.Members.Generation,
        State = _kept.Run.State,
        Reason = _kept.Run.Reason,
        Seating = _kept.Run.State == RunState.Training && _kept.Seating is { } seating && report.KnownGeneration < seating.Generation ? seating : null,
        StopRequested = _kept.Members.StopRequestedAt is not null && _kept.Members is { State: RunState.Training, Saving: false },
        HoldAtOnce = _kept.HoldAtOnce,
        HoldWithCheckpoint = _kept.Run.State == RunState.Paused,
        Released = [.. _kept.Members.Released(Now, Options).Select(m => m.Session)],
        Strangers = [.. report.Members.Where(news => news.Presence == Presence.Connected && !_kept.Members.Knows(news)).Select(news => news.Session)],
        Brief = Brief(_kept.Run),
    };

    private void Become(RunRecord next)
    {
        if (ReferenceEquals(next, _kept.Run))
            return;
        _kept = _kept with { Run = next, WrittenAt = Now };
        Writes.Add(next);
    }

    private void Set(RosterMembers members) => _kept = _kept with { Members = members };

    private static RunBrief Brief(RunRecord run) => new() { LaneCount = run.Plan.Lanes, TotalSteps = run.TotalSteps };

    private static Seating Seating(RunView run, ImmutableArray<Seat> seats, bool atOnce) => new()
    {
        Generation = run.Progress.Generation,
        Seats = seats,
        StartStep = run.Progress.Step,
        Checkpoint = run.Checkpoint,
        Brief = new RunBrief { LaneCount = run.Plan.Lanes, TotalSteps = run.TotalSteps },
        AtOnce = atOnce,
        Reason = run.Reason,
        Saving = run.Saving,
    };

    /// <summary>Everything, so that a failed write can be undone whole.</summary>
    private sealed record Kept
    {
        public required RunRecord Run { get; init; }

        public required RosterMembers Members { get; init; }

        public required RunProgress Progress { get; init; }

        public Seating? Seating { get; init; }

        public bool HoldAtOnce { get; init; }

        public TimeSpan WrittenAt { get; init; }
    }
}

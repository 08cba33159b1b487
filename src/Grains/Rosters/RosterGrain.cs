using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Orleans;

namespace DarkMatter.Grains;

/// <summary>
/// Hosts <see cref="Roster"/>: keeps the members of one run in memory, asks for a decision with every report of a silo, and has the run's
/// ledger store it before any trainer hears of it. Memory is enough: when this process dies, so do the sessions.
/// </summary>
[GrainType("roster")]
public sealed class RosterGrain(TimeProvider time) : Grain, IRosterGrain
{
    private readonly List<RosterMember> _members = [];
    private readonly long _epoch = time.GetTimestamp();
    private RosterOptions _options = new();
    private RunView? _run;
    private RosterMembers _roster = new() { World = 1 };
    private RosterDecision? _end;
    private Seating? _seating;
    private StateHashes? _hashes;
    private bool _planned;
    private string _recipeDigest = "";
    private RunProgress _progress = new();

    private string Name => this.GetPrimaryKeyString();

    // Time since this activation began: steady, whatever happens to the clock on the wall.
    private TimeSpan Now => time.GetElapsedTime(_epoch);

    private IRunGrain Run => GrainFactory.GetGrain<IRunGrain>(Name);

    /// <inheritdoc/>
    public override async Task OnActivateAsync(CancellationToken cancellationToken)
    {
        if (await Run.Get() is { } run)
        {
            Reset(run, _options);
        }
    }

    /// <inheritdoc/>
    public Task Open(RunView run, RosterOptions options)
    {
        Reset(run, options);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task<JoinAnswer> Join(JoinRequest join)
    {
        if (_run is null)
        {
            return Task.FromResult(new JoinAnswer { Refusal = Refusal.NotFound, Message = $"there is no run '{Name}': create it first" });
        }

        if (_end is not null)
        {
            return Task.FromResult(new JoinAnswer
            {
                Refusal = Refusal.FailedPrecondition,
                Message = $"run '{Name}' is over: {_end.Reason} Resume it before its trainers join.",
            });
        }

        if (Roster.Refuse(Name, Snapshot(), join, _recipeDigest) is { } refusal)
        {
            return Task.FromResult(refusal);
        }

        _members.RemoveAll(m => m.Name == join.Name);
        _members.Add(new RosterMember
        {
            Name = join.Name,
            Incarnation = join.Incarnation,
            Address = join.Address,
            ProcessId = join.ProcessId,
            LastHeard = Now,
        });
        return Task.FromResult(new JoinAnswer());
    }

    /// <inheritdoc/>
    public async Task<RosterView> Report(SiloReport report)
    {
        if (_run is null)
        {
            return new RosterView { State = RunState.None, Reason = $"there is no run '{Name}'" };
        }

        if (_end is null)
        {
            await TakeIn(report);
            await Act(Roster.Decide(Now, Snapshot(), _options));
        }

        return new RosterView
        {
            Generation = _roster.Generation,
            State = _end?.State ?? (_roster.Training ? RunState.Training : RunState.Waiting),
            Reason = _end?.Reason ?? _roster.StopReason,
            Seating = _seating is not null && report.KnownGeneration < _seating.Generation ? _seating : null,
            StopRequested = _roster.StopRequestedAt is not null,
        };
    }

    /// <inheritdoc/>
    public async Task<RunAnswer> Stop(string reason)
    {
        if (_run is null)
        {
            return RunAnswer.Refused(Refusal.NotFound, $"there is no run '{Name}'");
        }

        if (_end is null && _roster.StopRequestedAt is null)
        {
            _roster = _roster with { StopRequestedAt = Now, StopReason = reason.Length == 0 ? "stopped on request" : reason };
            await Act(Roster.Decide(Now, Snapshot(), _options));
        }

        return RunAnswer.Of((await Run.Get())!);
    }

    /// <inheritdoc/>
    public Task Interrupt(string reason) => _run is null || _end is not null
        ? Task.CompletedTask
        : Act(new RosterDecision(RunState.Failed, reason, []));

    private void Reset(RunView run, RosterOptions options)
    {
        _run = run;
        _options = options;
        _members.Clear();
        _seating = null;
        _hashes = null;
        _planned = false;
        _progress = run.Progress;
        _recipeDigest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(run.Plan.RecipeYaml)));
        _roster = new RosterMembers
        {
            World = run.Plan.World,
            Generation = run.Progress.Generation,
            OpenedAt = Now,
            // A run that trained when this activation began has lost its sessions: it holds no members and can only be interrupted.
            Training = run.State == RunState.Training,
        };
        _end = run.IsLive ? null : new RosterDecision(run.State, run.Reason, []);
    }

    private RosterMembers Snapshot() => _roster with { All = [.. _members] };

    private async Task TakeIn(SiloReport report)
    {
        long planned = 0;
        foreach (var news in report.Members)
        {
            int i = _members.FindIndex(m => m.Name == news.Name && m.Incarnation == news.Incarnation);
            if (i < 0)
            {
                continue; // An earlier incarnation, or one that was never let in.
            }

            var before = _members[i];
            _members[i] = before with
            {
                Presence = news.Presence,
                Reason = news.Reason,
                LastHeard = Now - news.SilentFor,
                Step = news.Step,
                Accuses = before.Accuses ?? news.Accuses,
                AccusedAt = before.Accuses is null && news.Accuses is not null ? Now : before.AccusedAt,
            };

            if (before.Rank == 0)
            {
                planned = news.PlannedSteps;
                _progress = _progress with
                {
                    Loss = news.Loss,
                    ImagesPerSecond = news.ImagesPerSecond,
                    EmbeddingStd = news.EmbeddingStd,
                };
            }

            CompareHashes(before.Rank, news.Hashes);
        }

        if (!_roster.Training || _members.Count == 0)
        {
            return;
        }

        if (planned > 0 && !_planned)
        {
            await Run.PlanSteps(_roster.Generation, planned);
            _planned = true;
        }

        _progress = Progress();
        await Run.Report(_progress);
    }

    private void CompareHashes(int rank, ImmutableArray<StateHash> hashes)
    {
        if (_hashes is null || rank < 0)
        {
            return;
        }

        foreach (var hash in hashes)
        {
            if (_hashes.Add(rank, hash) is { } difference && _roster.Divergence.Length == 0)
            {
                _roster = _roster with { Divergence = difference };
            }
        }
    }

    private RunProgress Progress() => _progress with
    {
        Generation = _roster.Generation,
        Step = _members.Min(m => m.Step),
        Members =
        [
            .. _members.OrderBy(m => m.Rank).Select(m => new MemberView
            {
                Name = m.Name,
                Rank = m.Rank,
                Address = m.Address,
                Step = m.Step,
                ProcessId = m.ProcessId,
                Alive = m.Presence == Presence.Connected,
            }),
        ],
    };

    private async Task Act(RosterDecision decision)
    {
        if (decision.Begins)
        {
            await Begin(decision);
        }
        else if (decision.State is not (RunState.Waiting or RunState.Training))
        {
            var last = _roster.Training && _members.Count > 0 ? Progress() : null;
            var ended = await Run.End(decision.State, decision.Reason, last);
            _end = decision with { Reason = ended.Reason };
        }
        else if (!_roster.Training)
        {
            // Those that came and went before the generation began have no place in it.
            _members.RemoveAll(m => m.Presence is Presence.Broken or Presence.Left or Presence.Completed);
        }
    }

    private async Task Begin(RosterDecision decision)
    {
        long number = _roster.Generation + 1;
        long start = _run!.StartStep;
        int lanes = _run.Plan.Lanes;
        var run = await Run.BeginGeneration(new GenerationRecord
        {
            Number = number,
            StartStep = start,
            Trainers = [.. decision.Next.Select(m => m.Name)],
            Lanes = lanes,
            Reason = decision.Reason,
        });

        _members.Clear();
        _members.AddRange(decision.Next.Select(m => m with { Step = start }));
        _hashes = new StateHashes(decision.Next.Length);
        _roster = _roster with { Generation = number, Training = true };
        _progress = run.Progress;
        _seating = new Seating
        {
            Generation = number,
            StartStep = start,
            CheckpointPath = run.StartCheckpoint?.Path ?? "",
            TotalSteps = run.TotalSteps,
            RecipeYaml = run.Plan.RecipeYaml,
            LaneCount = lanes,
            DatasetDigest = _run.Plan.DatasetDigest,
            Seats =
            [
                .. decision.Next.Select(m => new Seat
                {
                    Rank = m.Rank,
                    Name = m.Name,
                    Incarnation = m.Incarnation,
                    Address = m.Address,
                    ProcessId = m.ProcessId,
                    Lanes = LaneShare.Of(m.Rank, decision.Next.Length, lanes),
                }),
            ],
        };
    }
}

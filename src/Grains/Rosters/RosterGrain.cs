using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Orleans;

namespace DarkMatter.Grains;

/// <summary>
/// Hosts <see cref="Roster"/>: keeps the members of one run in memory, asks for a decision with every report of a silo, and has the run's
/// ledger store it before any trainer hears of it. What must survive is in the ledger: after a restart the newest generation's trainers are
/// away, and keep their places if they come back in time.
/// </summary>
[GrainType("roster")]
public sealed partial class RosterGrain(TimeProvider time) : Grain, IRosterGrain
{
    private readonly long _epoch = time.GetTimestamp();
    private RosterOptions _options = new();
    private RunView? _run;
    private RosterMembers _members = new() { World = 1 };
    private Seating? _seating;
    private StateHashes? _hashes;
    private StepTimes _times = new();
    private bool _holdAtOnce;
    private long _plannedSteps;
    private string _recipeDigest = "";
    private RunProgress _progress = new();

    private string Name => this.GetPrimaryKeyString();

    // Time since this activation began: steady, whatever happens to the clock on the wall.
    private TimeSpan Now => time.GetElapsedTime(_epoch);

    private IRunGrain Run => GrainFactory.GetGrain<IRunGrain>(Name);

    private bool Live => _run is { IsLive: true };

    private RunBrief Brief => new()
    {
        RecipeYaml = _run!.Plan.RecipeYaml,
        LaneCount = _run.Plan.Lanes,
        DatasetDigest = _run.Plan.DatasetDigest,
        TotalSteps = _run.TotalSteps,
    };

    /// <inheritdoc/>
    public override async Task OnActivateAsync(CancellationToken cancellationToken)
    {
        if (await Run.Get() is { } run)
        {
            TakeUp(run, _options, run.IsLive ? await Run.Seats() : []);
        }
    }

    /// <inheritdoc/>
    public Task Open(RunView run, RosterOptions options)
    {
        TakeUp(run, options, []);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task Reopen(RosterOptions options)
    {
        _options = options;
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task<JoinAnswer> Join(JoinRequest join)
    {
        if (_run is null)
        {
            return Task.FromResult(new JoinAnswer { Refusal = Refusal.NotFound, Message = $"there is no run '{Name}': create it first" });
        }

        if (!Live)
        {
            return Task.FromResult(new JoinAnswer
            {
                Refusal = Refusal.FailedPrecondition,
                Message = $"run '{Name}' is over: {_run.Reason} Resume it before its trainers join.",
            });
        }

        if (Admission.Refuse(Name, Now, _members, join, _recipeDigest, _options) is { } refusal)
        {
            return Task.FromResult(refusal);
        }

        _members = _members.Admit(Now, join);
        bool keeps = _members.State == RunState.Training && _members.All.Any(m => m.Session == join.Session && m.Seated);
        return Task.FromResult(new JoinAnswer { KeepsPlace = keeps, Brief = Brief });
    }

    /// <inheritdoc/>
    public async Task<RosterView> Report(SiloReport report)
    {
        if (_run is null)
        {
            return new RosterView { State = RunState.None, Reason = $"there is no run '{Name}'" };
        }

        if (Live)
        {
            await TakeIn(report);
            await Act(Roster.Decide(Now, _members, _options));
        }

        return View(report);
    }

    /// <inheritdoc/>
    public async Task<RunAnswer> Stop(string reason)
    {
        string why = reason.Length == 0 ? "stopped on request" : reason;
        if (Live)
        {
            // Stored before anybody hears of it: a silo that comes back goes on with stopping.
            Take(await Run.AskToStop(why));
        }

        return await Ask(members => members.StopRequestedAt is null ? members with { StopRequestedAt = Now, StopReason = why } : members);
    }

    /// <inheritdoc/>
    public async Task<RunAnswer> Pause(string reason) => _run is null || Live
        ? await Ask(members => members with { PauseReason = reason.Length == 0 ? "Paused on request." : RosterText.Sentence($"Paused: {reason}") })
        : RunAnswer.Refused(Refusal.FailedPrecondition, $"run '{Name}' is over: {_run.Reason} It can be resumed with `darkmatter pretrain --resume`, not paused.");

    /// <inheritdoc/>
    public async Task<RunAnswer> Unpause() => _run is null || Live
        ? await Ask(members => members with { PauseReason = null })
        : RunAnswer.Refused(Refusal.FailedPrecondition, $"run '{Name}' is over: {_run.Reason}");

    /// <inheritdoc/>
    public async Task<RunAnswer> Abandon(string reason)
    {
        if (_run is null)
        {
            return RunAnswer.Refused(Refusal.NotFound, $"there is no run '{Name}'");
        }

        var here = _members.All.Where(m => m.Presence == Presence.Connected && !m.IsSilent(Now, _options)).ToArray();
        if (Live && here.Length > 0)
        {
            return RunAnswer.Refused(
                Refusal.AlreadyExists,
                $"run '{Name}' lives already, with {RosterText.Names(here)}: watch it, or stop it before resuming");
        }

        if (Live)
        {
            await Act(new RosterDecision(RunState.Failed, reason, []));
        }

        return RunAnswer.Of(_run);
    }

    private async Task<RunAnswer> Ask(Func<RosterMembers, RosterMembers> change)
    {
        if (_run is null)
        {
            return RunAnswer.Refused(Refusal.NotFound, $"there is no run '{Name}'");
        }

        if (Live)
        {
            _members = change(_members);
            await Act(Roster.Decide(Now, _members, _options));
        }

        return RunAnswer.Of((await Run.Get())!);
    }

    private void TakeUp(RunView run, RosterOptions options, ImmutableArray<Seat> seats)
    {
        _run = run;
        _options = options;
        _progress = run.Progress;
        _recipeDigest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(run.Plan.RecipeYaml)));
        _holdAtOnce = true;
        _plannedSteps = 0;
        _times = new StepTimes();
        _hashes = new StateHashes(Math.Max(1, seats.Length));
        _seating = seats.IsEmpty ? null : Seating(run, seats, atOnce: true);
        _members = new RosterMembers
        {
            World = run.Plan.World,
            MinWorld = run.Plan.MinWorld,
            MaxWorld = run.Plan.LargestWorld,
            State = run.State,
            Generation = run.Progress.Generation,
            Formed = run.Formed,
            Began = run.Began,
            StartStep = run.Progress.Step,
            OpenedAt = Now,
            FormedAt = Now,
            PauseReason = run.State == RunState.Paused ? run.Reason : null,
            StopRequestedAt = run.StopReason.Length > 0 ? Now : null,
            StopReason = run.StopReason,
            Saving = run.Saving,
            SavedStep = run.Checkpoint?.Step ?? 0,
            Reached = run.Progress.Step,
            TotalSteps = run.TotalSteps,
            All =
            [
                .. seats.Select(s => new RosterMember
                {
                    Name = s.Name,
                    Incarnation = s.Incarnation,
                    Address = s.Address,
                    ProcessId = s.ProcessId,
                    Rank = s.Rank,
                    Presence = Presence.Away,
                    LastHeard = Now,
                    Prepared = true,
                }),
            ],
        };
    }

    private async Task Act(RosterDecision decision)
    {
        if (decision.Notice.Length > 0)
        {
            _progress = _progress with { Notice = decision.Notice };
        }

        if (decision.Begins)
        {
            await Form(decision);
        }
        else if (decision.State is not (RunState.Waiting or RunState.Training or RunState.Paused))
        {
            _run = await Run.End(decision.State, decision.Reason, Progress());
        }
        else if (decision.State != _members.State)
        {
            _run = await Run.Hold(decision.State, decision.Reason, Progress());
            _holdAtOnce = decision.AtOnce;
        }

        _members = _members.After(Now, decision, _options);
    }

    private async Task Form(RosterDecision decision)
    {
        // The ledger says which number is next: a generation that it stored but could not tell of is never used again.
        var run = (await Run.Get())!;
        long number = run.Progress.Generation + 1;
        int lanes = run.Plan.Lanes;
        ImmutableArray<Seat> seats =
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
        ];
        var generation = new GenerationRecord
        {
            Number = number,
            StartStep = Progress().Step,
            Trainers = [.. seats.Select(s => s.Name)],
            Lanes = lanes,
            Reason = decision.Reason,
            Saving = decision.Saving,
        };
        _run = await Run.BeginGeneration(generation, seats);
        _members = _members with { Generation = number - 1 };
        _hashes = new StateHashes(seats.Length);
        _times = new StepTimes();
        _progress = _run.Progress with { Notice = _progress.Notice };
        _seating = Seating(_run, seats, decision.AtOnce);
    }

    private Seating Seating(RunView run, ImmutableArray<Seat> seats, bool atOnce) => new()
    {
        Generation = run.Progress.Generation,
        Seats = seats,
        StartStep = run.Progress.Step,
        Checkpoint = run.Checkpoint,
        Brief = Brief,
        AtOnce = atOnce,
        Reason = run.Reason,
        Saving = run.Saving,
    };
}

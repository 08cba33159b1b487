using System.Collections.Immutable;
using Orleans;
using Orleans.Runtime;

namespace DarkMatter.Grains;

/// <summary>
/// Hosts a <see cref="Run"/>: stores each change before it tells anyone; progress alone is stored with a delay. The older part of a long ledger
/// is a state of its own, so that the one written every second stays small.
/// </summary>
[GrainType("run")]
public sealed class RunGrain(
    [PersistentState("run", GrainStorageNames.State)] IPersistentState<RunRecord> stored,
    [PersistentState("ledger", GrainStorageNames.State)] IPersistentState<SealedGenerations> older,
    TimeProvider time) : Grain, IRunGrain
{
    /// <summary>How far the stored progress may be behind: it is nobody's acknowledgement.</summary>
    private static readonly TimeSpan s_progressDelay = TimeSpan.FromSeconds(1);

    private RunRecord _run = new();
    private bool _exists;
    private bool _unwritten;
    private long _writtenAt;
    private long _version;

    private string Name => this.GetPrimaryKeyString();

    /// <inheritdoc/>
    public override Task OnActivateAsync(CancellationToken cancellationToken)
    {
        _run = stored.State;
        _exists = stored.RecordExists;
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public override Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellationToken) =>
        _unwritten ? Write(_run) : Task.CompletedTask;

    /// <inheritdoc/>
    public Task<RunAnswer> Create(RunPlan plan) => Apply(Run.Create(Name, _exists ? _run : null, plan));

    /// <inheritdoc/>
    public Task<RunAnswer> Resume(RunPlan plan, long startStep, CheckpointRecord? checkpoint) =>
        Apply(Run.Resume(Name, _exists ? _run : null, plan, startStep, checkpoint));

    /// <inheritdoc/>
    public Task<RunView?> Get() => Task.FromResult(_exists ? View() : null);

    /// <inheritdoc/>
    public Task<ImmutableArray<Seat>> Seats() => Task.FromResult(_run.Seats);

    /// <inheritdoc/>
    public async Task<RunView> BeginGeneration(GenerationRecord generation, ImmutableArray<Seat> seats)
    {
        var view = await Become(Run.BeginGeneration(_run, generation, seats));
        if (Run.Seal(_run) is not var (sealedNow, shorter))
        {
            return view;
        }

        await older.Replace(new SealedGenerations { Generations = Run.WholeLedger(older.State.Generations, sealedNow) });
        return await Become(shorter);
    }

    /// <inheritdoc/>
    public Task<RunView> Began(GenerationBeginning beginning) => Become(Run.Began(_run, beginning, time.GetUtcNow()));

    /// <inheritdoc/>
    public Task<RunView> Prove(ImmutableArray<LineageSegment> lineage) => Become(Run.Prove(_run, lineage));

    /// <inheritdoc/>
    public async Task Report(RunProgress progress)
    {
        var next = Run.Report(_run, progress);
        if (ReferenceEquals(next, _run))
        {
            return;
        }

        _run = next;
        _version++;
        _unwritten = true;
        if (time.GetElapsedTime(_writtenAt) >= s_progressDelay)
        {
            await Write(_run);
        }
    }

    /// <inheritdoc/>
    public Task<RunView> PlanSteps(long generation, long totalSteps) => Become(Run.PlanSteps(_run, generation, totalSteps));

    /// <inheritdoc/>
    public Task<RunView> Hold(RunState state, string reason, RunProgress? progress)
    {
        var last = progress is null ? _run : Run.Report(_run, progress);
        return Become(Run.Hold(last, state, reason));
    }

    /// <inheritdoc/>
    public Task<RunView> AskToStop(string reason) => Become(Run.AskToStop(_run, reason));

    /// <inheritdoc/>
    public Task<RunView> End(RunState state, string reason, RunProgress? progress)
    {
        var last = progress is null ? _run : Run.Report(_run, progress);
        return Become(Run.End(last, state, reason));
    }

    /// <inheritdoc/>
    public Task<RunAnswer> NoteCheckpoint(CheckpointRecord checkpoint) =>
        Apply(Run.NoteCheckpoint(Name, _exists ? _run : null, checkpoint));

    /// <inheritdoc/>
    public async Task<long> NoteQuarantined(int count, ImmutableArray<int> ranges)
    {
        await Become(_run with
        {
            Quarantined = _run.Quarantined + count,
            QuarantinedRanges = [.. _run.QuarantinedRanges.Union(ranges).Order()],
        });
        return _run.Quarantined;
    }

    /// <inheritdoc/>
    public Task<ImmutableArray<int>> QuarantinedRanges() => Task.FromResult(_run.QuarantinedRanges);

    /// <inheritdoc/>
    public Task<RunLedger?> Ledger() => Task.FromResult(_exists
        ? RunLedger.Of(Name, _run with { Generations = Run.WholeLedger(older.State.Generations, _run.Generations) }, [])
        : null);

    private async Task<RunAnswer> Apply(RunChange change) => change.Next is { } next
        ? RunAnswer.Of(await Become(next))
        : RunAnswer.Refused(change.Refusal, change.Message);

    private async Task<RunView> Become(RunRecord next)
    {
        if (!ReferenceEquals(next, _run))
        {
            await Write(next);
        }

        return View();
    }

    private async Task Write(RunRecord next)
    {
        await stored.Replace(next);
        _run = next;
        _exists = true;
        _unwritten = false;
        _writtenAt = time.GetTimestamp();
        _version++;
    }

    private RunView View() => Run.View(Name, _run, _version);
}

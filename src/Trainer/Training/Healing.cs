using System.Diagnostics;
using System.Text.Json;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// Brings the ranks of a generation to one state: each says what it has, all decide the same <see cref="HealPlan"/>, those without the truth
/// copy it from all that have it at once, and the generation begins when everybody's hash is the same.
/// </summary>
/// <param name="options">The run.</param>
/// <param name="state">This rank's; changed in place.</param>
/// <param name="session">Gets notes.</param>
public sealed class Healing(TrainOptions options, TrainState state, ITrainingSession session)
{
    /// <summary>The longest that a store may give nothing before reading it fails: longer than its own retries take.</summary>
    private static readonly TimeSpan StorePatience = new RetryOptions().Within * 2;

    /// <summary>Agrees, heals and begins the generation.</summary>
    /// <exception cref="ArgumentException">The ranks' shares do not make up the global batch.</exception>
    /// <exception cref="CheckpointException">Rank 0 could read no checkpoint.</exception>
    /// <exception cref="StateDivergedException">A rank's state differs after all.</exception>
    /// <exception cref="CollectiveAbortedException">A rank was lost.</exception>
    public GenerationReport Begin(CancellationToken cancellationToken)
    {
        var (ranks, clock) = (state.Ranks, Stopwatch.StartNew());
        var plan = HealPlan.Decide(Exchange(), options.ResumeFrom is null ? null : new SavedState(options.ResumeGeneration, options.ResumeStep));
        foreach (var rank in plan.Differing)
            session.Note($"rank {rank} holds another state of step {plan.Step} than the others and copies theirs; if it happens again, its machine computes wrongly");
        var source = plan.Source switch
        {
            HealSource.Memory => $"memory of generation {plan.Generation}",
            HealSource.Checkpoint => $"checkpoint {plan.Step}",
            _ => "fresh",
        };
        if (plan.Source != HealSource.Memory)
        {
            if (ranks.Rank == 0)
                source = Restore(plan.Source);
            // Now rank 0 has the truth, and whoever has the same bits, as new trainers have of a fresh start, need not copy it.
            plan = HealPlan.Decide(Exchange(restored: true), checkpoint: null);
        }

        var bytes = plan.Receivers.Count > 0 ? Copy(plan, cancellationToken) : 0;
        if (plan.Receivers.Count > 0)
            state.CompareHashes(expected: plan.Hash);
        var report = new GenerationReport
        {
            Generation = ranks.Generation,
            StartStep = state.Step,
            TotalSteps = state.TotalSteps,
            StateHash = plan.Hash,
            Source = source,
            Healed = plan.Receivers,
            HealedBytes = bytes * plan.Receivers.Count,
            HealTime = clock.Elapsed,
            Lineage = state.Lineage,
        };
        state.Begin(ranks.Generation);
        return report;
    }

    /// <summary>Everybody says what it has and how many images it takes; precision and plan become those that all share.</summary>
    private List<RankState> Exchange(bool restored = false)
    {
        var ranks = state.Ranks;
        // After rank 0 restored a state its word counts, and of the others only their bits.
        var mine = !restored ? state.Describe() : new RankState(ranks.Rank == 0 ? 1 : 0, state.Step, state.Hash(), Holds: true);
        var all = ranks.GatherNumbers(
        [
            mine.Generation, mine.Step, (long)mine.Hash, mine.Holds ? 1 : 0, options.RankBatch,
            state.PrefersBFloat16(options.Precision) ? 1 : 0, state.Planned ? state.TotalSteps : 0,
        ]);
        var counts = all.Select(a => (int)a[4]).ToList();
        if (counts.Sum() != options.GlobalBatch)
            throw new ArgumentException($"run '{options.Run}': the {ranks.World} ranks hold {string.Join(" + ", counts)} = {counts.Sum()} images of a step, but the global batch is {options.GlobalBatch}; the lanes are not dealt out completely");
        state.Share.Deal(counts);
        state.Method.Autocast = all.All(a => a[5] == 1);
        // A generation may end while rank 0 tells the others its plan.
        if (all.Select(a => a[6]).FirstOrDefault(total => total > 0) is > 0 and var planned)
            state.Plan(planned);
        return [.. all.Select(a => new RankState(a[0], a[1], (ulong)a[2], a[3] == 1))];
    }

    /// <summary>Rank 0 gets the state that nobody has in memory.</summary>
    private string Restore(HealSource source)
    {
        if (source == HealSource.Fresh)
        {
            state.Reset();
            return "fresh";
        }

        try
        {
            using var signs = new SignsOfLife(state.Ranks.Working, StorePatience);
            using var checkpoint = OpenCheckpoint(signs.Progressed);
            signs.Progressed();
            state.Load(checkpoint);
            return $"checkpoint {state.Step}";
        }
        catch (IOException away) when (away is not CheckpointBlobException { IsTransient: false })
        {
            // The store may come back: the generation is over, this trainer is not.
            var reason = $"rank 0 cannot read a checkpoint: {away.Message}";
            state.Ranks.Abort(reason);
            throw new CollectiveAbortedException(reason, null, away);
        }
    }

    /// <summary>The newest checkpoint or, when it is damaged, the newest older one that is whole.</summary>
    private OpenCheckpoint OpenCheckpoint(Action progressed)
    {
        try
        {
            return options.Store is { } store
                ? store.OpenAsync(options.ResumeStep, CancellationToken.None, progressed).GetAwaiter().GetResult()
                : CheckpointFolder.Open(options.ResumeFrom!);
        }
        catch (CheckpointException damaged)
        {
            session.Note($"{damaged.Message}; an older checkpoint is used");
            if (options.OpenStore() is { } older && OpenOlder(older, progressed) is { } whole)
                return whole;
            throw;
        }
    }

    private OpenCheckpoint? OpenOlder(CheckpointStore store, Action progressed)
    {
        foreach (var (step, _) in store.ListAsync(CancellationToken.None).GetAwaiter().GetResult().Where(c => c.Step < options.ResumeStep).Reverse())
        {
            try
            {
                return store.OpenAsync(step, CancellationToken.None, progressed).GetAwaiter().GetResult();
            }
            catch (CheckpointException damaged)
            {
                session.Note(damaged.Message);
            }
        }

        return null;
    }

    /// <summary>Receivers copy from all donors at once, each range from another; donors keep still until everybody's hash is compared.</summary>
    /// <returns>Bytes that one receiver copied.</returns>
    private long Copy(HealPlan plan, CancellationToken cancellationToken)
    {
        var ranks = state.Ranks;
        var receives = plan.Receivers.Contains(ranks.Rank);
        if (receives)
            state.Distrust();
        using var memory = new StateMemory(state.Tensors);
        CopyProgress(plan.Donors[0]);
        if (ranks.Transfer is not { } transfer)
        {
            CopyByBroadcast(plan.Donors[0]);
        }
        else if (receives)
        {
            var parts = Ranges(memory.Bytes, plan.Donors.Count).Zip(plan.Donors, (range, donor) =>
                transfer.FetchAsync(donor, range.Offset, range.Length, memory, cancellationToken)).ToList();
            // All must have ended before the memory may be used for anything else.
            Task.WhenAll(parts).GetAwaiter().GetResult();
            memory.Flush();
            ranks.Barrier();
        }
        else
        {
            using var offer = plan.Donors.Contains(ranks.Rank) ? transfer.Offer(memory) : null;
            ranks.Barrier();
        }

        return memory.Bytes;
    }

    /// <summary>Without a way of their own the bytes go through the collective: the slow twin.</summary>
    private void CopyByBroadcast(int donor)
    {
        foreach (var tensor in state.Tensors)
        {
            using var _ = TorchSharp.torch.no_grad();
            state.Ranks.Broadcast(tensor, donor);
        }
    }

    private void CopyProgress(int donor)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(state.Progress(), CheckpointJson.Default.TrainingProgress);
        Array.Resize(ref json, (int)state.Ranks.GatherNumbers([json.Length])[donor][0]);
        state.Ranks.Broadcast(json, donor);
        if (state.Ranks.Rank != donor)
            state.Apply(JsonSerializer.Deserialize(json, CheckpointJson.Default.TrainingProgress)!);
    }

    /// <summary>Cuts a row of bytes into parts of nearly equal length, each beginning at a multiple of 64.</summary>
    internal static IEnumerable<(long Offset, long Length)> Ranges(long bytes, int parts)
    {
        long Start(int part) => part == parts ? bytes : bytes * part / parts / 64 * 64;
        return Enumerable.Range(0, parts).Select(part => (Start(part), Start(part + 1) - Start(part)));
    }
}

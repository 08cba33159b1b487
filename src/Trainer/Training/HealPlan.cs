namespace DarkMatter.Trainer.Training;

/// <summary>What one rank brings into a generation.</summary>
/// <param name="Generation">The newest generation that began with this state; 0: none yet.</param>
/// <param name="Step">Updates applied in it.</param>
/// <param name="Hash">Its <see cref="StateHash"/>.</param>
/// <param name="Holds">Whether it counts at all: not if the rank is new, broke off a heal, or was found to differ from the others.</param>
public readonly record struct RankState(long Generation, long Step, ulong Hash, bool Holds)
{
    /// <summary>A rank without a state of the run.</summary>
    public static RankState None => new(0, -1, 0, Holds: false);
}

/// <summary>A checkpoint, as far as the choice of a state is concerned.</summary>
/// <param name="Generation">The generation that wrote it; 0: not known, older than any.</param>
/// <param name="Step">Updates applied in it.</param>
public readonly record struct SavedState(long Generation, long Step);

/// <summary>Where the state of a generation comes from. The values stand in logs and ledgers.</summary>
public enum HealSource
{
    /// <summary>The seed: nobody has anything, the run starts.</summary>
    Fresh = 0,

    /// <summary>The memory of trainers.</summary>
    Memory = 1,

    /// <summary>The checkpoint; rank 0 reads it.</summary>
    Checkpoint = 2,
}

/// <summary>
/// Which state is the truth of a generation, who has it and who must copy it: decided by every rank for itself from what all ranks said,
/// so that all decide alike. Pure.
/// <para>
/// The truth is the state of the newest generation, in it the one with the most steps, among the ranks' memory and the newest checkpoint;
/// memory wins a tie. A trainer that comes back with many steps of an old generation therefore never wins over those that went on.
/// Ranks with the truth's generation and step but different hashes: the most frequent hash is the truth, in a tie that of the lowest rank.
/// </para>
/// </summary>
public sealed record HealPlan
{
    /// <summary>Where the truth is.</summary>
    public required HealSource Source { get; init; }

    /// <summary>The generation the truth belongs to; 0 when fresh.</summary>
    public required long Generation { get; init; }

    /// <summary>Updates applied in the truth: the first step of the generation is this one, counted from 0.</summary>
    public required long Step { get; init; }

    /// <summary>The truth's hash; 0 unless the source is memory.</summary>
    public required ulong Hash { get; init; }

    /// <summary>The ranks that have the truth, bit for bit, in rank order. Rank 0 alone when the source is not memory.</summary>
    public required IReadOnlyList<int> Donors { get; init; }

    /// <summary>The ranks that copy it, in rank order. When the source is not memory: those that may have to, once rank 0 has it.</summary>
    public required IReadOnlyList<int> Receivers { get; init; }

    /// <summary>The receivers that claim the truth's generation and step, and hold something else: a machine computes wrongly.</summary>
    public required IReadOnlyList<int> Differing { get; init; }

    /// <summary>Decides.</summary>
    /// <param name="ranks">What each rank has, in rank order.</param>
    /// <param name="checkpoint">The run's newest checkpoint; null: none.</param>
    public static HealPlan Decide(IReadOnlyList<RankState> ranks, SavedState? checkpoint)
    {
        ArgumentNullException.ThrowIfNull(ranks);
        var newest = ranks.Where(r => r.Holds).Select(r => (r.Generation, r.Step)).DefaultIfEmpty((Generation: -1, Step: -1)).Max();
        if (checkpoint is { } saved && (saved.Generation, saved.Step).CompareTo(newest) > 0)
            return FromRankZero(HealSource.Checkpoint, saved, ranks.Count);
        if (!ranks.Any(r => r.Holds))
            return FromRankZero(HealSource.Fresh, default, ranks.Count);

        bool Claims(RankState r) => r.Holds && (r.Generation, r.Step) == newest;
        var hash = ranks.Where(Claims).GroupBy(r => r.Hash).MaxBy(same => same.Count())!.Key;   // the first of the largest: of the lowest rank
        var all = Enumerable.Range(0, ranks.Count).ToList();
        // A rank that did not see the newest generation begin may still have its state: equal bits are equal.
        bool Has(int rank) => ranks[rank].Holds && ranks[rank].Step == newest.Step && ranks[rank].Hash == hash;
        return new HealPlan
        {
            Source = HealSource.Memory,
            Generation = newest.Generation,
            Step = newest.Step,
            Hash = hash,
            Donors = all.FindAll(Has),
            Receivers = all.FindAll(rank => !Has(rank)),
            Differing = all.FindAll(rank => Claims(ranks[rank]) && ranks[rank].Hash != hash),
        };
    }

    private static HealPlan FromRankZero(HealSource source, SavedState state, int world) => new()
    {
        Source = source,
        Generation = state.Generation,
        Step = state.Step,
        Hash = 0,
        Donors = [0],
        Receivers = [.. Enumerable.Range(1, world - 1)],
        Differing = [],
    };

    /// <summary>Whose state is wrong when hashes of one step are compared in training: all but the largest group; everybody's where no group is the largest.</summary>
    /// <param name="hashes">Of every rank, in rank order.</param>
    /// <returns>The ranks to heal, in rank order; empty when all are equal.</returns>
    public static IReadOnlyList<int> Tainted(IReadOnlyList<ulong> hashes)
    {
        ArgumentNullException.ThrowIfNull(hashes);
        var groups = hashes.GroupBy(hash => hash).OrderByDescending(same => same.Count()).ToList();
        ulong? right = groups.Count == 1 || groups[0].Count() > groups[1].Count() ? groups[0].Key : null;
        return [.. Enumerable.Range(0, hashes.Count).Where(rank => hashes[rank] != right)];
    }
}

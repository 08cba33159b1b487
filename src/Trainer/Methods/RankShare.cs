using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Methods;

/// <summary>Which part of the global batch this rank holds. Ranks may hold different numbers of images; rank order is batch order.</summary>
/// <param name="Ranks">The ranks.</param>
/// <param name="Counts">Images of every rank, in rank order.</param>
public sealed record RankShare(ICollective Ranks, IReadOnlyList<int> Counts)
{
    /// <summary>n, this rank's images.</summary>
    public int Count => Counts[Ranks.Rank];

    /// <summary>N, the images of all ranks.</summary>
    public int Total { get; } = Counts.Sum();

    /// <summary>Images of the ranks before this one.</summary>
    public int Offset { get; } = Counts.Take(Ranks.Rank).Sum();

    /// <summary>Asks every rank for its count.</summary>
    public static RankShare Exchange(ICollective ranks, int count)
    {
        var counts = new double[ranks.World];
        counts[ranks.Rank] = count;
        ranks.AllReduceSum(counts);
        return new RankShare(ranks, [.. counts.Select(c => (int)c)]);
    }
}

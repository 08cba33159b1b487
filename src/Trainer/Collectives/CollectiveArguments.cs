namespace DarkMatter.Trainer.Collectives;

/// <summary>The checks that every implementation makes of its caller's arguments.</summary>
internal static class CollectiveArguments
{
    /// <exception cref="ArgumentException">The counts do not describe this world, this rank's part or the whole.</exception>
    public static void CheckGather(ICollective collective, int mine, int all, ReadOnlySpan<int> counts)
    {
        if (counts.Length != collective.World)
        {
            throw new ArgumentException($"AllGather takes one count per rank: {collective.World} expected, {counts.Length} given.", nameof(counts));
        }

        var sum = 0L;
        foreach (var count in counts)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(count, nameof(counts));
            sum += count;
        }

        if (counts[collective.Rank] != mine)
        {
            throw new ArgumentException($"AllGather: rank {collective.Rank} gives {mine} bytes, but its count is {counts[collective.Rank]}.", nameof(mine));
        }

        if (sum != all)
        {
            throw new ArgumentException($"AllGather: the counts sum to {sum} bytes, but the result has room for {all}.", nameof(all));
        }
    }

    /// <exception cref="ArgumentOutOfRangeException">The root is no rank of this world.</exception>
    public static void CheckRoot(ICollective collective, int root)
    {
        if (root < 0 || root >= collective.World)
        {
            throw new ArgumentOutOfRangeException(nameof(root), root, $"The root of a broadcast is a rank, 0 to {collective.World - 1}.");
        }
    }
}

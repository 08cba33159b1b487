using System.Collections.Immutable;

namespace DarkMatter.Grains;

/// <summary>Which lanes a rank has: neighbours, the first V mod W ranks one more than the rest.</summary>
public static class LaneShare
{
    /// <summary>The lanes of a rank, ascending.</summary>
    /// <param name="rank">0 ≤ rank &lt; world.</param>
    /// <param name="world">1 ≤ world ≤ lanes.</param>
    /// <param name="lanes">V.</param>
    public static ImmutableArray<int> Of(int rank, int world, int lanes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(world, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(world, lanes);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, world);
        int least = lanes / world;
        int longer = lanes % world;
        int first = (rank * least) + Math.Min(rank, longer);
        return [.. Enumerable.Range(first, least + (rank < longer ? 1 : 0))];
    }
}

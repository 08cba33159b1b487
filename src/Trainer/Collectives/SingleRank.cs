namespace DarkMatter.Trainer.Collectives;

/// <summary>A world of one rank: every sum is already there, nothing is copied but what a gather returns.</summary>
public sealed class SingleRank(long generation = 0) : ICollective
{
    /// <inheritdoc/>
    public int Rank => 0;

    /// <inheritdoc/>
    public int World => 1;

    /// <inheritdoc/>
    public long Generation { get; } = generation;

    /// <inheritdoc/>
    public void AllReduceSum(Span<float> buffer)
    {
    }

    /// <inheritdoc/>
    public void AllReduceSum(Span<double> buffer)
    {
    }

    /// <inheritdoc/>
    public Task AllReduceSumAsync(Memory<float> buffer) => Task.CompletedTask;

    /// <inheritdoc/>
    public void AllGather(ReadOnlySpan<byte> mine, Span<byte> all, ReadOnlySpan<int> counts)
    {
        CollectiveArguments.CheckGather(this, mine.Length, all.Length, counts);
        mine.CopyTo(all);
    }

    /// <inheritdoc/>
    public void Broadcast(Span<byte> buffer, int root) => CollectiveArguments.CheckRoot(this, root);

    /// <inheritdoc/>
    public void Barrier()
    {
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

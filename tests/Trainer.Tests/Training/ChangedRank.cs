using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Tests.Training;

/// <summary>A rank of which a test changes one thing.</summary>
internal abstract class ChangedRank(ICollective inner) : ICollective
{
    public int Rank => inner.Rank;

    public int World => inner.World;

    public long Generation => inner.Generation;

    public void AllReduceSum(Span<float> buffer) => inner.AllReduceSum(buffer);

    public virtual void AllReduceSum(Span<double> buffer) => inner.AllReduceSum(buffer);

    public virtual Task AllReduceSumAsync(Memory<float> buffer) => inner.AllReduceSumAsync(buffer);

    public virtual void AllGather(ReadOnlySpan<byte> mine, Span<byte> all, ReadOnlySpan<int> counts) => inner.AllGather(mine, all, counts);

    public void Broadcast(Span<byte> buffer, int root) => inner.Broadcast(buffer, root);

    public void Barrier() => inner.Barrier();

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}

/// <summary>A rank that dies in the middle of a step: at its n-th sum of statistics.</summary>
internal sealed class MortalRank(ICollective inner, int diesAt) : ChangedRank(inner)
{
    private int _sums;

    public override void AllReduceSum(Span<double> buffer)
    {
        if (++_sums == diesAt)
            throw new Killed();
        base.AllReduceSum(buffer);
    }
}

/// <summary>A rank that counts what it gathers.</summary>
internal sealed class CountingRank(ICollective inner) : ChangedRank(inner)
{
    /// <summary>Bytes of all ranks, in all gathers.</summary>
    public long Gathered { get; private set; }

    public override void AllGather(ReadOnlySpan<byte> mine, Span<byte> all, ReadOnlySpan<int> counts)
    {
        Gathered += all.Length;
        base.AllGather(mine, all, counts);
    }
}

using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Tests.Training;

/// <summary>A world of one.</summary>
public sealed class OnlyRank : ICollective
{
    public int Rank => 0;

    public int World => 1;

    public long Generation => 1;

    public void AllReduceSum(Span<float> buffer)
    {
    }

    public void AllReduceSum(Span<double> buffer)
    {
    }

    public Task AllReduceSumAsync(Memory<float> buffer) => Task.CompletedTask;

    public void AllGather(ReadOnlySpan<byte> mine, Span<byte> all, ReadOnlySpan<int> counts) => mine.CopyTo(all);

    public void Broadcast(Span<byte> buffer, int root)
    {
    }

    public void Barrier()
    {
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

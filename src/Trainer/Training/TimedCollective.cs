using System.Diagnostics;
using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// The collective of the current generation. Networks, buckets and gathers keep this object for life; what does the work behind it is
/// exchanged between generations. It also adds up how long calls blocked: communication that no computation hides.
/// </summary>
/// <param name="inner">Does the work.</param>
public sealed class TimedCollective(ICollective inner) : ICollective
{
    private ICollective inner = inner;
    private long _ticks;

    /// <summary>Where ranks may copy state from each other beside the collective calls; null where the collective has no such way.</summary>
    public IStateTransfer? Transfer => inner as IStateTransfer;

    /// <inheritdoc/>
    public int Rank => inner.Rank;

    /// <inheritdoc/>
    public int World => inner.World;

    /// <inheritdoc/>
    public long Generation => inner.Generation;

    /// <summary>Goes on with another generation; no call may be under way.</summary>
    public void Use(ICollective next) => (inner, _ticks) = (next, 0);

    /// <summary>Time blocked since the last call of this method.</summary>
    public TimeSpan TakeBlocked()
    {
        var blocked = Stopwatch.GetElapsedTime(0, _ticks);
        _ticks = 0;
        return blocked;
    }

    /// <inheritdoc/>
    public void AllReduceSum(Span<float> buffer)
    {
        var start = Stopwatch.GetTimestamp();
        inner.AllReduceSum(buffer);
        _ticks += Stopwatch.GetTimestamp() - start;
    }

    /// <inheritdoc/>
    public void AllReduceSum(Span<double> buffer)
    {
        var start = Stopwatch.GetTimestamp();
        inner.AllReduceSum(buffer);
        _ticks += Stopwatch.GetTimestamp() - start;
    }

    /// <inheritdoc/>
    public Task AllReduceSumAsync(Memory<float> buffer) => inner.AllReduceSumAsync(buffer);

    /// <inheritdoc/>
    public void AllGather(ReadOnlySpan<byte> mine, Span<byte> all, ReadOnlySpan<int> counts)
    {
        var start = Stopwatch.GetTimestamp();
        inner.AllGather(mine, all, counts);
        _ticks += Stopwatch.GetTimestamp() - start;
    }

    /// <inheritdoc/>
    public void Broadcast(Span<byte> buffer, int root)
    {
        var start = Stopwatch.GetTimestamp();
        inner.Broadcast(buffer, root);
        _ticks += Stopwatch.GetTimestamp() - start;
    }

    /// <inheritdoc/>
    public void Barrier()
    {
        var start = Stopwatch.GetTimestamp();
        inner.Barrier();
        _ticks += Stopwatch.GetTimestamp() - start;
    }

    /// <inheritdoc/>
    public void Working() => inner.Working();

    /// <summary>Ends the generation for a reason that is no rank's fault, on every rank.</summary>
    public void Abort(string reason) => (inner as GrpcCollective)?.Abort(reason);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => inner.DisposeAsync();
}

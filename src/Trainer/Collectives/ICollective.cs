namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// What the ranks of one generation do together. Every call is collective: each rank makes the same calls in the same order.
/// Calls block their thread, have a deadline, and throw <see cref="CollectiveAbortedException"/> on every rank once one rank is
/// lost: nothing is ever half-applied.
/// </summary>
public interface ICollective : IAsyncDisposable
{
    /// <summary>This trainer's place, 0 to <see cref="World"/> − 1.</summary>
    int Rank { get; }

    /// <summary>The number of trainers in the generation.</summary>
    int World { get; }

    /// <summary>The membership these calls belong to; messages of any other generation are rejected.</summary>
    long Generation { get; }

    /// <summary>Sums <paramref name="buffer"/> over the ranks, in place. The result is bit-identical on every rank.</summary>
    void AllReduceSum(Span<float> buffer);

    /// <summary>Sums <paramref name="buffer"/> over the ranks, in place. The result is bit-identical on every rank.</summary>
    void AllReduceSum(Span<double> buffer);

    /// <summary>Starts a sum over the ranks and returns at once; the memory belongs to the collective until the task ends.</summary>
    Task AllReduceSumAsync(Memory<float> buffer);

    /// <summary>
    /// Concatenates each rank's bytes in rank order. The ranks may contribute different amounts: rank r gives <c>counts[r]</c> bytes.
    /// </summary>
    /// <param name="mine">This rank's part, <c>counts[Rank]</c> bytes.</param>
    /// <param name="all">Receives the whole, <c>counts.Sum()</c> bytes.</param>
    /// <param name="counts">The number of bytes of each rank; equal on every rank.</param>
    void AllGather(ReadOnlySpan<byte> mine, Span<byte> all, ReadOnlySpan<int> counts);

    /// <summary>Copies <paramref name="buffer"/> of rank <paramref name="root"/> to every rank.</summary>
    void Broadcast(Span<byte> buffer, int root);

    /// <summary>Returns once every rank has called it.</summary>
    void Barrier();

    /// <summary>
    /// Not collective: tells the other ranks that this one makes progress with something that takes long, such as reading a checkpoint, while they
    /// wait for it in a call: the deadlines of calls begin anew. Returns at once, from any thread; called often, it tells now and then.
    /// </summary>
    void Working()
    {
        // Where nobody waits for long there is nobody to tell.
    }
}

/// <summary>A collective ended because a rank was lost, the generation ended, or a deadline passed. The step must not be applied.</summary>
public sealed class CollectiveAbortedException(string message, int? failedRank = null, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>The rank that is known to be at fault, if one is.</summary>
    public int? FailedRank { get; } = failedRank;
}

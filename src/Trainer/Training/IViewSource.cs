namespace DarkMatter.Trainer.Training;

/// <summary>Where a rank's batches come from, in step order. The loader of <c>DarkMatter.Data</c> is one; tests have others.</summary>
public interface IViewSource : IAsyncDisposable
{
    /// <summary>The next batch. The caller disposes it, which returns its memory to the source.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    ValueTask<IViewBatch> ReadAsync(CancellationToken cancellationToken);
}

/// <summary>The views of one step's images of one rank.</summary>
public interface IViewBatch : IDisposable
{
    /// <summary>The step this batch belongs to, counted from 0.</summary>
    long Step { get; }

    /// <summary>Images in the batch.</summary>
    int Count { get; }

    /// <summary>The samples' keys, in batch order.</summary>
    IReadOnlyList<string> Keys { get; }

    /// <summary>The samples' numbers in the dataset, in batch order; empty where the source does not number them.</summary>
    IReadOnlyList<long> Numbers => [];

    /// <summary>The wrapping sum over the samples of <see cref="Data.SampleDigest"/>: what these images count for in the ledger.</summary>
    ulong Digest { get; }

    /// <summary>View <paramref name="view"/> of every image: bytes [Count, H, W, 3], valid until the batch is disposed.</summary>
    Memory<byte> View(int view);
}

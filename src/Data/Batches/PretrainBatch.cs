namespace DarkMatter.Data;

/// <summary>The views of one rank's samples of one step, in lane order, then position. Dispose gives the memory back to the loader.</summary>
public sealed class PretrainBatch : IDisposable
{
    private readonly PinnedPool _pool;
    private readonly byte[][] _buffers;
    private readonly int[] _sizes;
    private int _disposed;

    internal PretrainBatch(long step, string[] keys, IReadOnlyList<ViewRecipe> views, PinnedPool pool)
    {
        Step = step;
        Count = keys.Length;
        Keys = keys;
        Places = new long[Count];
        _pool = pool;
        _sizes = [.. views.Select(view => view.Size)];
        _buffers = [.. _sizes.Select(size => pool.Rent(Count * ImageBytes(size)))];
    }

    /// <summary>The step these samples are for.</summary>
    public long Step { get; }

    /// <summary>The number of samples: this rank's lanes times GlobalBatch / LaneCount.</summary>
    public int Count { get; }

    /// <summary>The samples' keys; where a broken sample was replaced, the key of the replacement.</summary>
    public IReadOnlyList<string> Keys { get; }

    /// <summary>
    /// The samples' numbers in the dataset, see <see cref="Catalog.SampleNumber"/>; where a broken sample was replaced, its own: one place, one number.
    /// </summary>
    public IReadOnlyList<long> Numbers => Places;

    /// <summary>The wrapping sum of <see cref="SampleDigest.Of"/> over the places of these samples; the ranks' sums add up to the global batch's.</summary>
    public ulong Digest { get; internal set; }

    /// <summary>One view of every sample: uint8 [Count, Size, Size, 3], RGB, pinned in memory, valid until the batch is disposed.</summary>
    /// <exception cref="ObjectDisposedException">The batch was disposed.</exception>
    public Memory<byte> View(int view)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        return _buffers[view].AsMemory(0, Count * ImageBytes(_sizes[view]));
    }

    /// <summary>Gives the memory back.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        foreach (var buffer in _buffers)
            _pool.Return(buffer);
    }

    internal long[] Places { get; }

    internal Span<byte> Image(int view, int sample)
    {
        var bytes = ImageBytes(_sizes[view]);
        return _buffers[view].AsSpan(sample * bytes, bytes);
    }

    private static int ImageBytes(int size) => size * size * 3;
}

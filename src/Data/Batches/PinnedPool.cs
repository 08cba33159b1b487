namespace DarkMatter.Data;

/// <summary>A bounded store of pinned buffers of few sizes, so a steady stream of batches allocates nothing.</summary>
internal sealed class PinnedPool(int mostKept)
{
    private readonly Lock _gate = new();
    private readonly List<byte[]> _kept = [];
    private int _rented;
    private int _allocated;

    /// <summary>Buffers that were rented and not returned.</summary>
    public int Rented => Volatile.Read(ref _rented);

    /// <summary>Buffers that had to be made, because none was free.</summary>
    public int Allocated => Volatile.Read(ref _allocated);

    public byte[] Rent(int bytes)
    {
        Interlocked.Increment(ref _rented);
        lock (_gate)
        {
            for (var i = _kept.Count - 1; i >= 0; i--)
            {
                if (_kept[i].Length == bytes)
                {
                    var buffer = _kept[i];
                    _kept.RemoveAt(i);
                    return buffer;
                }
            }
        }

        Interlocked.Increment(ref _allocated);
        return GC.AllocateUninitializedArray<byte>(bytes, pinned: true);
    }

    public void Return(byte[] buffer)
    {
        Interlocked.Decrement(ref _rented);
        lock (_gate)
        {
            if (_kept.Count < mostKept)
                _kept.Add(buffer);
        }
    }

    public void Clear()
    {
        lock (_gate)
            _kept.Clear();
    }
}

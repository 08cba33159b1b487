namespace DarkMatter.Data;

/// <summary>
/// A packed dataset that is open for reading: catalog, shard indexes (the recently used ones stay in memory) and members by range reads.
/// Thread-safe.
/// </summary>
public sealed class Dataset : IDisposable
{
    private const long MaxIndexBytes = 256L << 20;

    private readonly IBlobStore _store;
    private readonly Lock _gate = new();
    private readonly Dictionary<int, LinkedListNode<(int Shard, ShardIndex Index)>> _indexes = [];
    private readonly LinkedList<(int Shard, ShardIndex Index)> _byUse = [];
    private long _indexBytes;

    /// <summary>Opens the shards of a catalog; the store belongs to the dataset from now on.</summary>
    public Dataset(Catalog catalog, IBlobStore store)
    {
        Catalog = catalog;
        _store = store;
    }

    /// <summary>The list of shards.</summary>
    public Catalog Catalog { get; }

    /// <summary>Opens a dataset folder.</summary>
    /// <exception cref="DatasetException">There is none, or its catalog is damaged.</exception>
    public static Dataset Open(string path)
    {
        var catalog = Catalog.Load(path);
        return new Dataset(catalog, new FileBlobStore(Directory.Exists(path) ? path : Path.GetDirectoryName(Path.GetFullPath(path))!));
    }

    /// <summary>The blob that holds a shard's index: beside the tar, or in the dataset for a tar packed by reference.</summary>
    public static string IndexName(int shard, string tar) =>
        Path.IsPathRooted(tar) ? $"reference-{shard:D6}{ShardIndex.FileSuffix}" : tar + ShardIndex.FileSuffix;

    /// <summary>A shard's index.</summary>
    /// <exception cref="DatasetException">The index is missing, damaged, or not the catalog's.</exception>
    public async ValueTask<ShardIndex> IndexAsync(int shard, CancellationToken cancellation)
    {
        lock (_gate)
        {
            if (_indexes.TryGetValue(shard, out var node))
            {
                if (node != _byUse.First)
                {
                    _byUse.Remove(node);
                    _byUse.AddFirst(node);
                }

                return node.Value.Index;
            }
        }

        var index = await ReadIndexAsync(shard, cancellation);
        lock (_gate)
        {
            if (!_indexes.ContainsKey(shard))
            {
                _indexes.Add(shard, _byUse.AddFirst((shard, index)));
                _indexBytes += index.MemoryBytes;
                while (_indexBytes > MaxIndexBytes && _byUse.Count > 1)
                {
                    var (oldShard, oldIndex) = _byUse.Last!.Value;
                    _byUse.RemoveLast();
                    _indexes.Remove(oldShard);
                    _indexBytes -= oldIndex.MemoryBytes;
                }
            }
        }

        return index;
    }

    /// <summary>Reads a member into <paramref name="buffer"/>, which grows when it is too small.</summary>
    /// <returns>The member's bytes, in the buffer.</returns>
    /// <exception cref="DatasetException">The tar is missing or shorter than its index says.</exception>
    public async ValueTask<ReadOnlyMemory<byte>> ReadAsync(int shard, ShardMember member, ByteBuffer buffer, CancellationToken cancellation)
    {
        var tar = Catalog.Shards[shard].Tar;
        var into = buffer.Take(member.Length);
        var count = await _store.ReadAsync(tar, member.Offset, into, cancellation);
        if (count < member.Length)
        {
            var length = await _store.FindLengthAsync(tar, cancellation) ?? 0;
            throw new DatasetException(
                $"the shard is cut off: it has {length} bytes instead of {Catalog.Shards[shard].TarBytes}",
                Path.Combine(_store.Location, tar), "Copy the shard again, or pack the dataset again.");
        }

        return into;
    }

    /// <summary>Closes the store.</summary>
    public void Dispose() => _store.Dispose();

    private async ValueTask<ShardIndex> ReadIndexAsync(int shard, CancellationToken cancellation)
    {
        var entry = Catalog.Shards[shard];
        var name = IndexName(shard, entry.Tar);
        var where = Path.Combine(_store.Location, name);
        var length = await _store.FindLengthAsync(name, cancellation)
            ?? throw new DatasetException("the shard's index is missing", where, "Copy the whole dataset folder, or pack it again.");
        var file = new byte[length];
        await _store.ReadAsync(name, 0, file, cancellation);
        var index = ShardIndex.Parse(file, where);
        if (ShardIndex.DigestOf(file) != entry.IndexDigest || index.Count != entry.Samples || index.TarBytes != entry.TarBytes)
        {
            throw new DatasetException("the index is not the one the catalog lists: files of two datasets are mixed", where,
                "Copy the whole dataset folder again, or pack it again.");
        }

        return index;
    }
}

/// <summary>A buffer that grows and is reused: one per thread.</summary>
public sealed class ByteBuffer
{
    private byte[] _bytes = new byte[64 << 10];

    /// <summary>The first <paramref name="count"/> bytes; what an earlier call returned is overwritten.</summary>
    public Memory<byte> Take(int count)
    {
        if (count > _bytes.Length)
            _bytes = GC.AllocateUninitializedArray<byte>((int)Math.Min(Array.MaxLength, Math.Max(count, _bytes.Length * 2L)));
        return _bytes.AsMemory(0, count);
    }
}

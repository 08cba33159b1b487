namespace DarkMatter.Data;

/// <summary>
/// Which image stands at (epoch, lane, position): a pure function of the seed and the shards' sample counts. The world size, failures and
/// resumes never change it.
/// </summary>
/// <remarks>
/// Epoch e permutes the shards with a keyed <see cref="Feistel"/>; laid end to end they give positions 0..N−1. Lane v of V owns
/// [vN/V, (v+1)N/V). Within a lane each block of M positions is permuted by a second Feistel. The lane then continues into epoch e+1.
/// An address costs O(1) expected; memory is O(shards): the tables of two epochs, because lanes that differ by one sample in length may
/// stand in two epochs at once. Thread-safe.
/// </remarks>
public sealed class SampleOrder
{
    private const long ShardPurpose = 1;
    private const long BlockPurpose = 2;

    private readonly KeyedRandom _key;
    private readonly int[] _counts;
    private readonly EpochTable?[] _tables = new EpochTable?[2];

    /// <summary>The order of one run.</summary>
    /// <param name="seed">The run's data seed.</param>
    /// <param name="shardCounts">The samples of each shard, in catalog order; a shard may be empty.</param>
    /// <param name="lanes">V, the number of lanes; at most the number of samples.</param>
    /// <param name="blockSize">M, the number of neighbouring positions of a lane that are shuffled among themselves.</param>
    /// <exception cref="ArgumentException">There are fewer samples than lanes, a count is negative, or a size is not positive.</exception>
    public SampleOrder(long seed, IReadOnlyList<int> shardCounts, int lanes, int blockSize)
    {
        ArgumentNullException.ThrowIfNull(shardCounts);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(lanes);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockSize);
        _key = new KeyedRandom(0).With(seed);
        _counts = [.. shardCounts];
        for (var shard = 0; shard < _counts.Length; shard++)
        {
            if (_counts[shard] < 0)
                throw new ArgumentException($"Shard {shard} has {_counts[shard]} samples; a count is 0 or more.", nameof(shardCounts));
            SampleCount += _counts[shard];
        }

        if (SampleCount < lanes)
        {
            throw new ArgumentException(
                $"{SampleCount} samples cannot fill {lanes} lanes; each lane needs at least one. Use fewer lanes or more images.", nameof(lanes));
        }

        Lanes = lanes;
        BlockSize = blockSize;
    }

    /// <summary>N, the samples of one epoch.</summary>
    public long SampleCount { get; }

    /// <summary>The samples of each shard, in catalog order.</summary>
    public IReadOnlyList<int> ShardCounts => _counts;

    /// <summary>V, the number of lanes.</summary>
    public int Lanes { get; }

    /// <summary>M, the samples that are shuffled among themselves.</summary>
    public int BlockSize { get; }

    /// <summary>The number of positions of a lane in one epoch: ⌊N/V⌋ or ⌈N/V⌉.</summary>
    public long LaneLength(int lane) => LaneStart(lane + 1) - LaneStart(lane);

    /// <summary>The sample at a position of a lane in an epoch.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The epoch is negative, or there is no such lane or position.</exception>
    public SampleAddress At(long epoch, int lane, long position)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(epoch);
        if ((uint)lane >= (uint)Lanes)
            throw new ArgumentOutOfRangeException(nameof(lane), lane, $"The lanes are 0 to {Lanes - 1}.");
        var start = LaneStart(lane);
        var length = LaneStart(lane + 1) - start;
        if ((ulong)position >= (ulong)length)
            throw new ArgumentOutOfRangeException(nameof(position), position, $"Lane {lane} has positions 0 to {length - 1}.");

        var block = position / BlockSize;
        var blockStart = block * BlockSize;
        var key = _key.With(BlockPurpose).With(epoch).With(lane).With(block);
        var within = new Feistel(key.Key, Math.Min(BlockSize, length - blockStart))[position - blockStart];
        return Table(epoch).Find(start + blockStart + within);
    }

    /// <summary>The <paramref name="laneSampleIndex"/>-th sample of a lane since the run began; index / LaneLength is the epoch.</summary>
    public SamplePlace Locate(int lane, long laneSampleIndex)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(laneSampleIndex);
        if ((uint)lane >= (uint)Lanes)
            throw new ArgumentOutOfRangeException(nameof(lane), lane, $"The lanes are 0 to {Lanes - 1}.");
        var (epoch, position) = Math.DivRem(laneSampleIndex, LaneLength(lane));
        return new SamplePlace(epoch, position, At(epoch, lane, position));
    }

    // v·N does not fit 64 bits for the largest datasets and lane counts.
    private long LaneStart(int lane) => (long)((Int128)lane * SampleCount / Lanes);

    private EpochTable Table(long epoch)
    {
        ref var slot = ref _tables[epoch & 1];
        var table = Volatile.Read(ref slot);
        if (table is null || table.Epoch != epoch)
        {
            // Two threads may build the same table; both are equal, and the last one stays.
            table = new EpochTable(epoch, _counts, SampleCount, new Feistel(_key.With(ShardPurpose).With(epoch).Key, _counts.Length));
            Volatile.Write(ref slot, table);
        }

        return table;
    }

    /// <summary>The shards of one epoch laid end to end: from a position to its shard.</summary>
    private sealed class EpochTable
    {
        private readonly int[] _shardAt; // slot → shard
        private readonly long[] _startOf; // slot → first position; one more entry holds N
        private readonly int[] _slotAt; // bucket → the slot of the bucket's first position; one more entry ends the last bucket
        private readonly long _bucketWidth;

        public EpochTable(long epoch, int[] counts, long total, Feistel permutation)
        {
            Epoch = epoch;
            _shardAt = new int[counts.Length];
            _startOf = new long[counts.Length + 1];
            for (var shard = 0; shard < counts.Length; shard++)
                _shardAt[permutation[shard]] = shard;
            for (var slot = 0; slot < counts.Length; slot++)
                _startOf[slot + 1] = _startOf[slot] + counts[_shardAt[slot]];

            _bucketWidth = Math.Max(1, total / counts.Length);
            _slotAt = new int[(total - 1) / _bucketWidth + 2];
            for (int bucket = 0, slot = 0; bucket < _slotAt.Length; bucket++)
            {
                var position = Math.Min(bucket * _bucketWidth, total - 1);
                while (_startOf[slot + 1] <= position)
                    slot++;
                _slotAt[bucket] = slot;
            }
        }

        public long Epoch { get; }

        public SampleAddress Find(long position)
        {
            var bucket = position / _bucketWidth;
            int low = _slotAt[bucket], high = _slotAt[bucket + 1];
            while (low < high)
            {
                var middle = (low + high) >>> 1;
                if (_startOf[middle + 1] <= position)
                    low = middle + 1;
                else
                    high = middle;
            }

            return new SampleAddress(_shardAt[low], (int)(position - _startOf[low]));
        }
    }
}

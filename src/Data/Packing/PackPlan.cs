using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace DarkMatter.Data;

/// <summary>Which samples stand in which shard: a pure function of source and options, so an interrupted pack can go on.</summary>
internal sealed class PackPlan
{
    private const int Version = 1;
    private const ulong ShuffleKey = 0x5348_5546_464C_4531;

    private readonly Feistel? _shuffle;
    private readonly List<long> _ends = [];

    public PackPlan(IPackInput input, PackOptions options)
    {
        if (options.Shuffle)
            _shuffle = new Feistel(ShuffleKey, input.Count);
        Samples = options.Images > 0 ? Math.Min(options.Images, input.Count) : input.Count;
        var samples = 0;
        var bytes = 0L;
        for (var position = 0L; position < Samples; position++)
        {
            var size = input.SizeHint(Source(position));
            if (samples > 0 && (samples == options.ShardSamples || bytes + size > options.ShardBytes))
            {
                _ends.Add(position);
                samples = 0;
                bytes = 0;
            }

            samples++;
            bytes += size;
        }

        _ends.Add(Samples);
        Digest = DigestOf(input, options, Samples);
    }

    /// <summary>Samples of all shards, broken ones included.</summary>
    public long Samples { get; }

    /// <summary>The number of shards.</summary>
    public int Shards => _ends.Count;

    /// <summary>32 bytes that name source and options.</summary>
    public byte[] Digest { get; }

    /// <summary>The first and the end position of a shard.</summary>
    public (long First, long End) Range(int shard) => (shard == 0 ? 0 : _ends[shard - 1], _ends[shard]);

    /// <summary>The source's number of the sample at a position.</summary>
    public long Source(long position) => _shuffle is { } shuffle ? shuffle[position] : position;

    private static byte[] DigestOf(IPackInput input, PackOptions options, long samples) => SHA256.HashData(
    [
        .. Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $"plan {Version} {options.ShardSamples} {options.ShardBytes} {options.Shuffle} "
            + $"{options.Source.GetType().Name} {(options.Source as PackSource.Tars)?.Reshard}{(samples < input.Count ? $" {samples} images" : "")}\n")),
        .. input.Digest(),
    ]);
}

using System.Security.Cryptography;

namespace DarkMatter.Data;

/// <summary>One shard as the catalog knows it.</summary>
/// <param name="Tar">The tar's blob name: relative to the dataset, or an absolute path for a tar that was packed by reference.</param>
/// <param name="Samples">The number of samples with an image.</param>
/// <param name="TarBytes">The length of the tar.</param>
/// <param name="IndexDigest">The first 8 bytes of the SHA-256 of the shard's index, little-endian.</param>
public sealed record ShardEntry(string Tar, int Samples, long TarBytes, ulong IndexDigest);

/// <summary>
/// The list of a dataset's shards with their sample counts: a few bytes a shard, so a billion images in 100,000 shards fit in some MB.
/// </summary>
/// <remarks>
/// File, version 1: the 8 bytes "DMCATLG" and the version; the number of shards; the source's digest (32 bytes, zeros when unknown); then per
/// shard the length of the prefix its name shares with the name before it, the rest of the name in UTF-8 with its length, samples, tar
/// bytes, 8 bytes of index digest; at the end the SHA-256 of all before. Numbers are LEB128.
/// </remarks>
public sealed class Catalog
{
    /// <summary>The catalog's file name inside a dataset folder.</summary>
    public const string FileName = "catalog.dmc";

    /// <summary>The most shards a catalog may have: 16 million.</summary>
    public const int MaxShards = 1 << 24;

    private static readonly byte[] Magic = [.. "DMCATLG"u8, 1];

    private readonly ShardEntry[] _shards;
    private readonly int[] _counts;
    private readonly long[] _firstSample;

    private Catalog(ShardEntry[] shards, byte[] sourceDigest, byte[] file)
    {
        _shards = shards;
        _counts = [.. shards.Select(shard => shard.Samples)];
        _firstSample = new long[shards.Length + 1];
        for (var i = 0; i < shards.Length; i++)
            _firstSample[i + 1] = _firstSample[i] + shards[i].Samples;
        SourceDigest = Convert.ToHexStringLower(sourceDigest);
        Digest = Convert.ToHexStringLower(file.AsSpan(file.Length - SHA256.HashSizeInBytes));
        FileBytes = file;
    }

    /// <summary>The shards in catalog order.</summary>
    public IReadOnlyList<ShardEntry> Shards => _shards;

    /// <summary>The samples of each shard, in catalog order.</summary>
    public IReadOnlyList<int> ShardCounts => _counts;

    /// <summary>The samples of all shards.</summary>
    public long SampleCount => _firstSample[^1];

    /// <summary>SHA-256 of the catalog in hex; equal digests mean equal shards.</summary>
    public string Digest { get; }

    /// <summary>SHA-256 in hex of the plan that packed the dataset: its source and options.</summary>
    public string SourceDigest { get; }

    /// <summary>The catalog as it stands in its file.</summary>
    public ReadOnlyMemory<byte> FileBytes { get; }

    /// <summary>A sample's number in the whole dataset: its identity for augmentation.</summary>
    public long SampleNumber(SampleAddress address) => _firstSample[address.Shard] + address.Sample;

    /// <summary>Makes a catalog of shards in this order.</summary>
    /// <param name="shards">The shards.</param>
    /// <param name="sourceDigest">32 bytes that name the packing plan, or empty.</param>
    public static Catalog Create(IReadOnlyList<ShardEntry> shards, ReadOnlySpan<byte> sourceDigest = default)
    {
        ArgumentNullException.ThrowIfNull(shards);
        if (shards.Count > MaxShards)
            throw new ArgumentException($"{shards.Count} shards; a catalog holds at most {MaxShards}. Make the shards larger.", nameof(shards));
        var digest = new byte[SHA256.HashSizeInBytes];
        sourceDigest.CopyTo(digest);

        var file = new PackedWriter();
        file.Bytes(Magic);
        file.Number(shards.Count);
        file.Bytes(digest);
        var previous = "";
        foreach (var shard in shards)
        {
            file.FrontCoded(shard.Tar, previous);
            file.Number(shard.Samples);
            file.Number(shard.TarBytes);
            file.Fixed64(shard.IndexDigest);
            previous = shard.Tar;
        }

        return new Catalog([.. shards], digest, file.Seal());
    }

    /// <summary>Reads the catalog of a dataset folder, or a catalog file.</summary>
    /// <exception cref="DatasetException">There is none, or it is damaged, foreign or of another version.</exception>
    public static Catalog Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return Parse(DatasetFolder.ReadCatalog(path, out var file), file);
    }

    /// <summary>Reads a catalog from its bytes; <paramref name="where"/> names them in errors.</summary>
    /// <exception cref="DatasetException">The bytes are damaged, foreign or of another version.</exception>
    public static Catalog Parse(byte[] file, string where)
    {
        ArgumentNullException.ThrowIfNull(file);
        const string Remedy = "Pack the dataset again, or restore the file from a copy.";
        var reader = PackedReader.Open(file, Magic, "catalog", where, Remedy);
        var count = (int)reader.Number(MaxShards, "number of shards");
        var source = reader.Bytes(SHA256.HashSizeInBytes, "source digest").ToArray();
        if (count > reader.Remaining)
            throw reader.Damaged($"it claims {count} shards in {reader.Remaining} bytes");

        var shards = new ShardEntry[count];
        var previous = "";
        for (var i = 0; i < count; i++)
        {
            var name = previous = reader.FrontCoded(previous);
            var samples = (int)reader.Number(int.MaxValue, "samples");
            var bytes = reader.Number(long.MaxValue, "tar bytes");
            shards[i] = new ShardEntry(name, samples, bytes, reader.Fixed64());
        }

        reader.End();
        return new Catalog(shards, source, file);
    }
}

using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace DarkMatter.Data;

/// <summary>One member of a sample inside its tar.</summary>
public readonly record struct ShardMember(string Suffix, long Offset, int Length);

/// <summary>Where each sample of a tar lies: random access without reading the tar.</summary>
/// <remarks>
/// File, version 1: the 8 bytes "DMINDEX" and the version; tar bytes; the number of suffixes, each with its length; the number of samples;
/// per sample its front-coded key, the number of members, and per member the suffix's number, the offset as the distance from the end of the
/// member before, the length; at the end the SHA-256 of all before. Numbers are LEB128.
/// </remarks>
public sealed class ShardIndex
{
    /// <summary>What is appended to a tar's name to give its index's.</summary>
    public const string FileSuffix = ".index";

    private const int MaxSuffixes = 1024;
    private const int MaxMembers = 256;
    private static readonly byte[] Magic = [.. "DMINDEX"u8, 1];

    private readonly string[] _suffixes;
    private readonly byte[] _keys; // UTF-8, end to end
    private readonly int[] _keyEnd;
    private readonly int[] _memberEnd;
    private readonly ushort[] _suffixOf;
    private readonly long[] _offsets;
    private readonly int[] _lengths;

    private ShardIndex(long tarBytes, string[] suffixes, byte[] keys, int[] keyEnd, int[] memberEnd, ushort[] suffixOf, long[] offsets, int[] lengths)
    {
        TarBytes = tarBytes;
        _suffixes = suffixes;
        _keys = keys;
        _keyEnd = keyEnd;
        _memberEnd = memberEnd;
        _suffixOf = suffixOf;
        _offsets = offsets;
        _lengths = lengths;
    }

    /// <summary>The number of samples.</summary>
    public int Count => _keyEnd.Length;

    /// <summary>The length of the tar the index belongs to.</summary>
    public long TarBytes { get; }

    /// <summary>The bytes the index takes in memory, about.</summary>
    public long MemoryBytes => _keys.Length + 8L * Count + 14L * _offsets.Length + 256;

    /// <summary>A sample's key.</summary>
    public string Key(int sample)
    {
        var start = sample == 0 ? 0 : _keyEnd[sample - 1];
        return Encoding.UTF8.GetString(_keys, start, _keyEnd[sample] - start);
    }

    /// <summary>A sample's members in tar order.</summary>
    public IReadOnlyList<ShardMember> Members(int sample)
    {
        var members = new List<ShardMember>();
        for (var member = FirstMember(sample); member < _memberEnd[sample]; member++)
            members.Add(Member(member));
        return members;
    }

    /// <summary>A sample's image: its first member that is one.</summary>
    public ShardMember Image(int sample)
    {
        for (var member = FirstMember(sample); member < _memberEnd[sample]; member++)
        {
            if (SampleName.IsImage(_suffixes[_suffixOf[member]]))
                return Member(member);
        }

        throw new InvalidOperationException($"Sample '{Key(sample)}' has no image; an index holds only samples that have one.");
    }

    /// <summary>The member of a sample with this suffix, or null.</summary>
    public ShardMember? Find(int sample, string suffix)
    {
        for (var member = FirstMember(sample); member < _memberEnd[sample]; member++)
        {
            if (_suffixes[_suffixOf[member]] == suffix)
                return Member(member);
        }

        return null;
    }

    /// <summary>Reads an index.</summary>
    /// <param name="file">Its bytes.</param>
    /// <param name="where">Its name, for errors.</param>
    /// <exception cref="DatasetException">The bytes are damaged, foreign or of another version.</exception>
    public static ShardIndex Parse(ReadOnlySpan<byte> file, string where)
    {
        const string Remedy = "Delete the dataset folder and pack it again, or restore the file from a copy.";
        var reader = PackedReader.Open(file, Magic, "shard index", where, Remedy);
        var tarBytes = reader.Number(long.MaxValue, "tar bytes");
        var suffixes = new string[reader.Number(MaxSuffixes, "number of suffixes")];
        for (var i = 0; i < suffixes.Length; i++)
            suffixes[i] = reader.FrontCoded("");
        var samples = (int)reader.Number(int.MaxValue, "number of samples");
        if (samples > reader.Remaining)
            throw reader.Damaged($"it claims {samples} samples in {reader.Remaining} bytes");

        var builder = new Builder(tarBytes, suffixes, samples);
        var key = "";
        var end = 0L;
        for (var sample = 0; sample < samples; sample++)
        {
            key = reader.FrontCoded(key);
            var members = (int)reader.Number(MaxMembers, "number of members");
            var hasImage = false;
            for (var member = 0; member < members; member++)
            {
                var suffix = (int)reader.Number(suffixes.Length - 1, "suffix");
                hasImage |= SampleName.IsImage(suffixes[suffix]);
                var offset = end + reader.Number(tarBytes - end, "member offset");
                var length = (int)reader.Number(Math.Min(int.MaxValue, tarBytes - offset), "member length");
                builder.AddMember(suffix, offset, length);
                end = offset + length;
            }

            if (!hasImage)
                throw reader.Damaged($"sample '{key}' has no image");
            builder.EndSample(key);
        }

        reader.End();
        return builder.Build();
    }

    /// <summary>The index in its file's form.</summary>
    public byte[] ToBytes()
    {
        var file = new PackedWriter();
        file.Bytes(Magic);
        file.Number(TarBytes);
        file.Number(_suffixes.Length);
        foreach (var suffix in _suffixes)
            file.FrontCoded(suffix, "");
        file.Number(Count);
        var previous = "";
        var end = 0L;
        for (var sample = 0; sample < Count; sample++)
        {
            var key = Key(sample);
            file.FrontCoded(key, previous);
            previous = key;
            file.Number(_memberEnd[sample] - FirstMember(sample));
            for (var member = FirstMember(sample); member < _memberEnd[sample]; member++)
            {
                file.Number(_suffixOf[member]);
                file.Number(_offsets[member] - end);
                file.Number(_lengths[member]);
                end = _offsets[member] + _lengths[member];
            }
        }

        return file.Seal();
    }

    /// <summary>The first 8 bytes of the SHA-256 of an index file, as the catalog keeps it.</summary>
    public static ulong DigestOf(ReadOnlySpan<byte> file) => BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(file));

    private int FirstMember(int sample) => sample == 0 ? 0 : _memberEnd[sample - 1];

    private ShardMember Member(int member) => new(_suffixes[_suffixOf[member]], _offsets[member], _lengths[member]);

    /// <summary>Collects samples in tar order.</summary>
    internal sealed class Builder(long tarBytes, IEnumerable<string> suffixes, int expectedSamples = 0)
    {
        private readonly List<string> _suffixes = [.. suffixes];
        private readonly List<byte> _keys = [];
        private readonly List<int> _keyEnd = new(expectedSamples);
        private readonly List<int> _memberEnd = new(expectedSamples);
        private readonly List<ushort> _suffixOf = new(expectedSamples);
        private readonly List<long> _offsets = new(expectedSamples);
        private readonly List<int> _lengths = new(expectedSamples);

        public int Count => _keyEnd.Count;

        /// <summary>The number of a suffix, new or known.</summary>
        public int Suffix(string suffix)
        {
            var index = _suffixes.IndexOf(suffix);
            if (index >= 0)
                return index;
            if (_suffixes.Count == MaxSuffixes)
                throw new InvalidOperationException($"more than {MaxSuffixes} different suffixes");
            _suffixes.Add(suffix);
            return _suffixes.Count - 1;
        }

        public void AddMember(int suffix, long offset, int length)
        {
            _suffixOf.Add((ushort)suffix);
            _offsets.Add(offset);
            _lengths.Add(length);
        }

        public void EndSample(string key)
        {
            _keys.AddRange(Encoding.UTF8.GetBytes(key));
            _keyEnd.Add(_keys.Count);
            _memberEnd.Add(_offsets.Count);
        }

        public ShardIndex Build(long? finalTarBytes = null) =>
            new(finalTarBytes ?? tarBytes, [.. _suffixes], [.. _keys], [.. _keyEnd], [.. _memberEnd], [.. _suffixOf], [.. _offsets], [.. _lengths]);
    }
}

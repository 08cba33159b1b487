using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace DarkMatter.Data;

/// <summary>WebDataset tars that are indexed where they lie; their samples can be copied into new shards.</summary>
internal sealed class TarInput : IPackInput
{
    private readonly FileBlobStore _store = new("/");
    private readonly long[] _firstSample;

    private TarInput(string[] tars, ShardIndex[] indexes, List<BrokenImage> withoutImage)
    {
        Tars = tars;
        Indexes = indexes;
        WithoutImage = withoutImage;
        _firstSample = new long[tars.Length + 1];
        for (var i = 0; i < tars.Length; i++)
            _firstSample[i + 1] = _firstSample[i] + indexes[i].Count;
    }

    /// <summary>The tars' absolute paths.</summary>
    public IReadOnlyList<string> Tars { get; }

    /// <summary>Each tar's index.</summary>
    public IReadOnlyList<ShardIndex> Indexes { get; }

    /// <summary>Samples that have no image.</summary>
    public IReadOnlyList<BrokenImage> WithoutImage { get; }

    public long Count => _firstSample[^1];

    public IReadOnlyList<string> Classes => [];

    /// <summary>Indexes the tars, several at once.</summary>
    public static async Task<TarInput> OpenAsync(PackSource.Tars source, int workers, CancellationToken cancellation)
    {
        if (source.Paths.Count == 0)
            throw new DatasetException("no tar was given", "tars", "Give the paths of WebDataset tars.");
        string[] tars = [.. source.Paths.Select(Path.GetFullPath)];
        if (tars.GroupBy(tar => tar).FirstOrDefault(group => group.Count() > 1) is { } twice)
            throw new DatasetException("the tar was given twice", twice.Key, "Name each tar once.");
        var indexes = new ShardIndex[tars.Length];
        var withoutImage = new List<string>[tars.Length];
        using var store = new FileBlobStore("/");
        var options = new ParallelOptions { MaxDegreeOfParallelism = workers, CancellationToken = cancellation };
        await Parallel.ForAsync(0, tars.Length, options, async (i, stop) =>
        {
            withoutImage[i] = [];
            indexes[i] = await ShardIndexer.BuildAsync(store, tars[i], withoutImage[i], stop);
        });

        const string NoImage = "it has no .jpg, .jpeg, .png or .webp member";
        var broken = tars.SelectMany((tar, i) => withoutImage[i].Select(key => new BrokenImage($"{tar}: {key}", NoImage))).ToList();
        if (indexes.All(index => index.Count == 0))
        {
            throw new DatasetException("the tars hold no image", tars[0],
                "A sample is a .jpg, .jpeg, .png or .webp member, with further members of the same name up to the first dot.");
        }

        return new TarInput(tars, indexes, broken);
    }

    public string Name(long sample)
    {
        var (tar, within) = Find(sample);
        return $"{Tars[tar]}: {Indexes[tar].Key(within)}";
    }

    public long SizeHint(long sample)
    {
        var (tar, within) = Find(sample);
        return Indexes[tar].Members(within).Sum(member => (long)member.Length);
    }

    public byte[] Digest()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (var i = 0; i < Tars.Count; i++)
        {
            hash.AppendData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"tar {Tars[i]}\n")));
            hash.AppendData(Indexes[i].ToBytes());
        }

        return hash.GetHashAndReset();
    }

    public PackSample Read(long sample, PackTools tools, CancellationToken cancellation)
    {
        var (tar, within) = Find(sample);
        var members = Indexes[tar].Members(within);
        var start = members[0].Offset;
        var length = members[^1].Offset + members[^1].Length - start;
        if (length > int.MaxValue)
            throw new BrokenImageException($"the sample has {length} bytes; the most is 2 GiB");

        // The members are adjacent: one read fetches all.
        var content = tools.File.Take((int)length);
        var read = _store.ReadAsync(Tars[tar], start, content, cancellation).AsTask().GetAwaiter().GetResult();
        if (read < length)
            throw new DatasetException("the tar shrank while it was packed", Tars[tar], "Let nobody write to it, and pack again.");
        tools.Members.Clear();
        foreach (var member in members)
            tools.Members.Add(new PackMember(member.Suffix, content.Slice((int)(member.Offset - start), member.Length)));
        var image = Indexes[tar].Image(within);
        tools.Check(content.Span.Slice((int)(image.Offset - start), image.Length));
        return new PackSample(Indexes[tar].Key(within), tools.Members);
    }

    public void Dispose() => _store.Dispose();

    private (int Tar, int Sample) Find(long sample)
    {
        var at = Array.BinarySearch(_firstSample, sample);
        if (at < 0)
            return (~at - 1, (int)(sample - _firstSample[~at - 1]));
        while (_firstSample[at + 1] == sample)
            at++; // tars without samples
        return (at, 0);
    }
}

namespace DarkMatter.Data;

/// <summary>Where a <see cref="PackJob"/> takes its samples from.</summary>
public abstract record PackSource
{
    private PackSource()
    {
    }

    /// <summary>Every JPEG, PNG and WebP file below a folder; the key is the relative path without its extension.</summary>
    /// <param name="Path">The folder.</param>
    /// <param name="LabelsFromFolders">Whether the first folder level names the class: classes are numbered in ordinal order.</param>
    public sealed record Folder(string Path, bool LabelsFromFolders = false) : PackSource;

    /// <summary>An IDX pair (Yann LeCun's format for MNIST), plain or gzipped; images become PNG, keys their eight-digit number.</summary>
    /// <param name="Images">The file of uint8 images, [N, H, W].</param>
    /// <param name="Labels">The file of uint8 labels, [N], or null.</param>
    public sealed record Idx(string Images, string? Labels) : PackSource;

    /// <summary>Existing WebDataset tars.</summary>
    /// <param name="Paths">The tars, in catalog order.</param>
    /// <param name="Reshard">False leaves the tars where they are and only indexes them; true copies the samples into new shards.</param>
    public sealed record Tars(IReadOnlyList<string> Paths, bool Reshard) : PackSource;
}

/// <summary>What to pack and how.</summary>
public sealed record PackOptions
{
    /// <summary>The images.</summary>
    public required PackSource Source { get; init; }

    /// <summary>The dataset folder to make; it may hold an interrupted pack of the same source.</summary>
    public required string Destination { get; init; }

    /// <summary>Most samples of a shard, 1 or more. Default 1000.</summary>
    public int ShardSamples { get; init; } = 1000;

    /// <summary>A shard of a folder is closed before it passes this many bytes, 1 MiB or more. Default 256 MiB.</summary>
    public long ShardBytes { get; init; } = 256L << 20;

    /// <summary>
    /// Whether samples are spread over the shards by a fixed permutation (seed 0) instead of source order; default true. Order on disk
    /// limits how well an epoch mixes.
    /// </summary>
    public bool Shuffle { get; init; } = true;

    /// <summary>
    /// At most so many images, broken ones included: a random choice that is the same every time, or the first of the source without <see cref="Shuffle"/>;
    /// 0, the default, for all. Not for tars that are indexed where they are.
    /// </summary>
    public long Images { get; init; }

    /// <summary>Shards made at once, 1 to 256. Default: the number of processors.</summary>
    public int Workers { get; init; } = Environment.ProcessorCount;
}

/// <summary>How far a pack is.</summary>
/// <param name="Done">Samples finished, broken ones included.</param>
/// <param name="Total">Samples that are packed.</param>
/// <param name="Broken">Samples left out so far.</param>
/// <param name="Shards">Shards finished.</param>
/// <param name="Bytes">Bytes of finished shards.</param>
public sealed record PackProgress(long Done, long Total, long Broken, int Shards, long Bytes);

/// <summary>An image that was left out.</summary>
/// <param name="Name">The file, or the sample and its tar.</param>
/// <param name="Reason">What is wrong with it.</param>
public sealed record BrokenImage(string Name, string Reason);

/// <summary>What a pack made.</summary>
/// <param name="Catalog">The dataset's catalog.</param>
/// <param name="Broken">The images left out, by name in source order.</param>
/// <param name="ResumedShards">Shards that an earlier, interrupted pack had finished.</param>
public sealed record PackReport(Catalog Catalog, IReadOnlyList<BrokenImage> Broken, int ResumedShards);

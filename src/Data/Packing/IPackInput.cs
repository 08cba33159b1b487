namespace DarkMatter.Data;

/// <summary>The samples of a source, by number. Thread-safe; the order is the source's.</summary>
internal interface IPackInput : IDisposable
{
    /// <summary>The number of samples, broken ones included.</summary>
    long Count { get; }

    /// <summary>A sample's name for a message.</summary>
    string Name(long sample);

    /// <summary>The bytes a sample will take, about; 0 when all are small.</summary>
    long SizeHint(long sample);

    /// <summary>What names the source's content: equal digests give equal datasets. 32 bytes.</summary>
    byte[] Digest();

    /// <summary>Reads a sample and checks its image.</summary>
    /// <exception cref="BrokenImageException">The image cannot be decoded, or the file cannot be read.</exception>
    PackSample Read(long sample, PackTools tools, CancellationToken cancellation);

    /// <summary>The names of the classes by number, if the source has them.</summary>
    IReadOnlyList<string> Classes { get; }
}

/// <summary>A sample as it will stand in its shard; the members are valid until the tools read the next one.</summary>
internal readonly record struct PackSample(string Key, IReadOnlyList<PackMember> Members);

/// <summary>One member of a sample.</summary>
internal readonly record struct PackMember(string Suffix, ReadOnlyMemory<byte> Content);

/// <summary>What one packing worker reuses.</summary>
internal sealed class PackTools : IDisposable
{
    public ImageCodec Codec { get; } = new();

    public ByteBuffer File { get; } = new();

    public List<PackMember> Members { get; } = [];

    public void Dispose() => Codec.Dispose();

    /// <summary>Decodes an image to the end, and returns the suffix that its format has.</summary>
    /// <exception cref="BrokenImageException">It is no image or damaged.</exception>
    public string Check(ReadOnlySpan<byte> image)
    {
        var info = Codec.Probe(image);
        Codec.Decode(image);
        return info.Format switch
        {
            ImageFormat.Jpeg => "jpg",
            ImageFormat.Png => "png",
            _ => "webp",
        };
    }
}

namespace DarkMatter.Data.Tests;

/// <summary>Small datasets made on the spot.</summary>
internal static class Photos
{
    /// <summary>A folder of PNGs of one colour each, plus the reference images, in two class folders.</summary>
    public static string Folder(Scratch scratch, int count, string name = "photos")
    {
        using var codec = new ImageCodec();
        for (var i = 0; i < count; i++)
        {
            var pixels = new byte[12 * 10 * 3];
            for (var j = 0; j < pixels.Length; j++)
                pixels[j] = (byte)(i * 37 + j * (i % 5 + 1));
            scratch.Write($"{name}/{(i % 2 == 0 ? "cats" : "dogs")}/{i:D4}.png", codec.EncodePng(pixels, 12, 10, 3));
        }

        foreach (var image in new[] { "baseline-420.jpg", "gray.jpg", "lossy.webp" })
            scratch.Write($"{name}/cats/{image}", Files.Image(image));
        return scratch[name];
    }

    /// <summary>Packs a folder into shards of 10.</summary>
    public static async Task<string> Packed(Scratch scratch, int count)
    {
        var report = await PackJob.RunAsync(new PackOptions
        {
            Source = new PackSource.Folder(Folder(scratch, count), LabelsFromFolders: true),
            Destination = scratch["packed"],
            ShardSamples = 10,
            Workers = 2,
        });
        report.Broken.ShouldBeEmpty();
        return scratch["packed"];
    }

    /// <summary>Overwrites a sample's image in its shard with noise.</summary>
    public static async Task<string> Break(string dataset, SampleAddress address)
    {
        using var open = Dataset.Open(dataset);
        var index = await open.IndexAsync(address.Shard, default);
        var member = index.Image(address.Sample);
        using var tar = File.OpenWrite(Path.Combine(dataset, open.Catalog.Shards[address.Shard].Tar));
        tar.Position = member.Offset;
        tar.Write(Enumerable.Repeat((byte)0xA7, member.Length).ToArray());
        return index.Key(address.Sample);
    }

    /// <summary>An IDX pair of <paramref name="count"/> images of 5 × 4 pixels, labels 0 to 9.</summary>
    public static (string Images, string Labels) Idx(Scratch scratch, int count, bool zipped)
    {
        byte[] images = [0, 0, 8, 3, .. BigEndian(count), .. BigEndian(5), .. BigEndian(4), .. Enumerable.Range(0, count * 20).Select(i => (byte)(i * 7))];
        byte[] labels = [0, 0, 8, 1, .. BigEndian(count), .. Enumerable.Range(0, count).Select(i => (byte)(i % 10))];
        return (scratch.Write("images-idx3-ubyte", zipped ? Zip(images) : images), scratch.Write("labels-idx1-ubyte", zipped ? Zip(labels) : labels));
    }

    private static byte[] BigEndian(int value) => [(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value];

    private static byte[] Zip(byte[] bytes)
    {
        var stream = new MemoryStream();
        using (var zip = new System.IO.Compression.GZipStream(stream, System.IO.Compression.CompressionLevel.Fastest))
            zip.Write(bytes);
        return stream.ToArray();
    }
}

using System.Text;

namespace DarkMatter.Data.Tests.Packing;

public class PackJobTests
{
    [Fact]
    public async Task Folder_WithLabels_HoldsEveryFileUnchanged()
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 47);
        var source = Directory.GetFiles(scratch["photos"], "*", SearchOption.AllDirectories)
            .ToDictionary(file => Path.ChangeExtension(Path.GetRelativePath(scratch["photos"], file), null), StringComparer.Ordinal);

        using var open = Dataset.Open(dataset);
        open.Catalog.ShardCounts.ShouldBe([10, 10, 10, 10, 10]);
        var buffer = new ByteBuffer();
        for (var shard = 0; shard < 5; shard++)
        {
            var index = await open.IndexAsync(shard, default);
            for (var sample = 0; sample < index.Count; sample++)
            {
                source.Remove(index.Key(sample), out var file).ShouldBeTrue(index.Key(sample));
                (await open.ReadAsync(shard, index.Image(sample), buffer, default)).ToArray().ShouldBe(File.ReadAllBytes(file!));
                var label = await open.ReadAsync(shard, index.Find(sample, "cls")!.Value, buffer, default);
                Encoding.ASCII.GetString(label.Span).ShouldBe(index.Key(sample).StartsWith("cats/", StringComparison.Ordinal) ? "0" : "1");
            }
        }

        source.ShouldBeEmpty();
        File.ReadAllLines(Path.Combine(dataset, PackJob.ClassesFileName)).ShouldBe(["cats", "dogs"]);
    }

    [Fact]
    public async Task Folder_AnyWorkersAndTwice_GivesTheSameBytes()
    {
        using var scratch = new Scratch();
        var folder = Photos.Folder(scratch, 60);
        foreach (var workers in new[] { 1, 3 })
            await PackJob.RunAsync(new PackOptions { Source = new PackSource.Folder(folder), Destination = scratch[$"w{workers}"], ShardSamples = 7, Workers = workers });
        var contents = Files.Contents(scratch["w1"]);
        Files.Contents(scratch["w3"]).ShouldBe(contents);

        var again = await PackJob.RunAsync(new PackOptions { Source = new PackSource.Folder(folder), Destination = scratch["w1"], ShardSamples = 7 });
        again.ResumedShards.ShouldBe(again.Catalog.Shards.Count);
        Files.Contents(scratch["w1"]).ShouldBe(contents);
    }

    [Fact]
    public async Task Folder_TarsAreReadableByOthers()
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 20);
        using var stream = File.OpenRead(Path.Combine(dataset, "shard-000000.tar"));
        using var reader = new System.Formats.Tar.TarReader(stream);
        var names = new List<string>();
        while (reader.GetNextEntry() is { } entry)
            names.Add(entry.Name);
        names.Count.ShouldBe(20);
        names.Where((_, i) => i % 2 == 1).ShouldAllBe(name => name.EndsWith(".cls"));
    }

    [Fact]
    public async Task Folder_BrokenImages_AreNamedAndLeftOut()
    {
        using var scratch = new Scratch();
        var folder = Photos.Folder(scratch, 12);
        scratch.Write("photos/cats/broken.jpg", Files.Image("gray.jpg").AsSpan(0, 900));
        scratch.Write("photos/dogs/page.png", "<html>"u8);
        scratch.Write("photos/dogs/notes.txt", "no image"u8);
        var last = new List<PackProgress>();
        var report = await PackJob.RunAsync(
            new PackOptions { Source = new PackSource.Folder(folder), Destination = scratch["out"] }, new Collect(last));

        report.Catalog.SampleCount.ShouldBe(15);
        report.Broken.ShouldBe(
        [
            new BrokenImage("cats/broken.jpg", "JPEG: Premature end of JPEG file"),
            new BrokenImage("dogs/page.png", "not a JPEG, PNG or WebP (it looks like a web page or SVG)"),
        ]);
        last[^1].ShouldBe(new PackProgress(17, 17, 2, 1, report.Catalog.Shards[0].TarBytes));
        var again = await PackJob.RunAsync(new PackOptions { Source = new PackSource.Folder(folder), Destination = scratch["out"] });
        again.Broken.ShouldBe(report.Broken);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Images_FewerThanTheSourceHas_AreTheSameChoiceWhateverTheShards(bool shuffle)
    {
        using var scratch = new Scratch();
        var (images, labels) = Photos.Idx(scratch, 33, zipped: false);
        async Task<string[]> Keys(string folder, int shardSamples)
        {
            var options = new PackOptions { Source = new PackSource.Idx(images, labels), Destination = scratch[folder], ShardSamples = shardSamples, Images = 12, Shuffle = shuffle };
            var last = new List<PackProgress>();
            (await PackJob.RunAsync(options, new Collect(last))).Catalog.SampleCount.ShouldBe(12);
            last[^1].Total.ShouldBe(12);
            return [.. LabeledImages.Load(scratch[folder], 4).Keys];
        }

        var keys = await Keys("one", 100);
        (await Keys("other", 5)).ShouldBe(keys);
        var first = Enumerable.Range(0, 12).Select(i => $"{i:D8}").ToArray();
        if (shuffle)
            keys.Order().SequenceEqual(first).ShouldBeFalse("a choice from all of the source");
        else
            keys.ShouldBe(first);
    }

    [Fact]
    public async Task Images_AsManyAsTheSourceHasOrMore_AreThatDatasetItself()
    {
        using var scratch = new Scratch();
        var (images, labels) = Photos.Idx(scratch, 33, zipped: false);
        var all = new PackOptions { Source = new PackSource.Idx(images, labels), Destination = scratch["out"] };
        var packed = await PackJob.RunAsync(all);
        (await PackJob.RunAsync(all with { Images = 33 })).Catalog.Digest.ShouldBe(packed.Catalog.Digest);
        (await PackJob.RunAsync(all with { Images = 1000 })).Catalog.SampleCount.ShouldBe(33);
        (await Should.ThrowAsync<DatasetException>(() => PackJob.RunAsync(all with { Images = 12 }))).Message.ShouldContain("other options");
    }

    [Fact]
    public async Task Images_OfTarsThatStayWhereTheyAre_AreRefused()
    {
        using var scratch = new Scratch();
        var options = new PackOptions { Source = new PackSource.Tars([scratch["a.tar"]], Reshard: false), Destination = scratch["out"], Images = 3 };
        (await Should.ThrowAsync<ArgumentException>(() => PackJob.RunAsync(options))).Message.ShouldContain("where they are");
    }

    [Fact]
    public async Task Folder_KeysThatWouldMeet_StayApart()
    {
        using var scratch = new Scratch();
        foreach (var name in new[] { "a.jpg", "a.jpeg", "a.b.jpg", "a_b.jpg", "__meta__/a.jpg" })
            scratch.Write("in/" + name, Files.Image("gray.jpg"));
        scratch.Write("in/wrong-ending.png", Files.Image("gray.jpg"));
        var report = await PackJob.RunAsync(new PackOptions { Source = new PackSource.Folder(scratch["in"]), Destination = scratch["out"], Shuffle = false });
        using var open = Dataset.Open(scratch["out"]);
        var index = await open.IndexAsync(0, default);
        Enumerable.Range(0, index.Count).Select(index.Key).ShouldBe(["x__meta__/a", "a_b", "a", "a-2", "a_b-2", "wrong-ending"]);
        Enumerable.Range(0, index.Count).Select(sample => index.Image(sample).Suffix).Distinct().ShouldBe(["jpg"]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Idx_Pair_HoldsImagesAndLabels(bool zipped)
    {
        using var scratch = new Scratch();
        var (images, labels) = Photos.Idx(scratch, 33, zipped);
        var report = await PackJob.RunAsync(new PackOptions { Source = new PackSource.Idx(images, labels), Destination = scratch["out"], ShardSamples = 10 });
        report.Catalog.SampleCount.ShouldBe(33);
        var loaded = LabeledImages.Load(scratch["out"], 4);
        loaded.Count.ShouldBe(33);
        loaded.Keys.Order().ShouldBe(Enumerable.Range(0, 33).Select(i => $"{i:D8}"));

        using var open = Dataset.Open(scratch["out"]);
        using var codec = new ImageCodec();
        var buffer = new ByteBuffer();
        var row = 0;
        for (var shard = 0; shard < open.Catalog.Shards.Count; shard++)
        {
            var index = await open.IndexAsync(shard, default);
            for (var sample = 0; sample < index.Count; sample++, row++)
            {
                var number = int.Parse(index.Key(sample));
                loaded.Labels[row].ShouldBe(number % 10);
                codec.Decode((await open.ReadAsync(shard, index.Image(sample), buffer, default)).Span).Pixels.ToArray()
                    .ShouldBe(Enumerable.Range(number * 20, 20).Select(i => (byte)(i * 7)));
            }
        }
    }

    [Fact]
    public async Task Tars_ByReferenceAndResharded_HoldTheSameSamples()
    {
        using var scratch = new Scratch();
        var first = await Photos.Packed(scratch, 27);
        string[] tars = [.. Directory.GetFiles(first, "*.tar").Order()];
        var reference = await PackJob.RunAsync(new PackOptions { Source = new PackSource.Tars(tars, Reshard: false), Destination = scratch["reference"] });
        var resharded = await PackJob.RunAsync(new PackOptions { Source = new PackSource.Tars(tars, Reshard: true), Destination = scratch["resharded"], ShardSamples = 4 });
        reference.Catalog.Shards.Select(shard => shard.Tar).ShouldBe(tars);
        resharded.Catalog.Shards.Count.ShouldBe(8);
        foreach (var dataset in new[] { scratch["reference"], scratch["resharded"] })
        {
            var loaded = LabeledImages.Load(dataset, 6);
            var original = LabeledImages.Load(first, 6);
            Rows(loaded).ShouldBe(Rows(original));
        }

        static IEnumerable<(string, int, string)> Rows(LabeledImages images) =>
            images.Keys.Select((key, i) => (key, images.Labels[i], Convert.ToHexString(images.Images.AsSpan(i * 108, 108)))).OrderBy(row => row.key, StringComparer.Ordinal);
    }

    [Fact]
    public async Task Tars_SampleWithoutImage_IsNamed()
    {
        using var scratch = new Scratch();
        using (var file = File.Create(scratch["a.tar"]))
        {
            var tar = new TarWriter(file);
            tar.Add("one.jpg", Files.Image("gray.jpg"));
            tar.Add("two.txt", "text"u8);
            tar.Finish();
        }

        var report = await PackJob.RunAsync(new PackOptions { Source = new PackSource.Tars([scratch["a.tar"]], Reshard: false), Destination = scratch["out"] });
        report.Catalog.SampleCount.ShouldBe(1);
        report.Broken.ShouldBe([new BrokenImage($"{scratch["a.tar"]}: two", "it has no .jpg, .jpeg, .png or .webp member")]);
    }

    /// <summary>Collects progress reports in the packing thread.</summary>
    internal sealed class Collect(List<PackProgress> into) : IProgress<PackProgress>
    {
        public void Report(PackProgress value)
        {
            lock (into)
                into.Add(value);
        }
    }
}

namespace DarkMatter.Data.Tests.Shards;

public class CatalogTests
{
    [Fact]
    public void Catalog_OfABillionImages_FitsInAFewMegabytes()
    {
        var shards = Enumerable.Range(0, 100_000).Select(i => new ShardEntry($"shard-{i:D6}.tar", 9_900 + i % 200, 1_100_000_000 + i * 512L, (ulong)i * 0x9E3779B97F4A7C15)).ToList();
        var catalog = Catalog.Create(shards);
        catalog.FileBytes.Length.ShouldBeLessThan(3 << 20);
        var parsed = Catalog.Parse(catalog.FileBytes.ToArray(), "test");
        parsed.Shards.ShouldBe(shards);
        parsed.Digest.ShouldBe(catalog.Digest);
        parsed.SampleCount.ShouldBe(shards.Sum(shard => (long)shard.Samples));
        parsed.SampleNumber(new SampleAddress(99_999, 5)).ShouldBe(parsed.SampleCount - shards[^1].Samples + 5);
    }

    [Fact]
    public void Digest_AnyChange_Differs()
    {
        var entry = new ShardEntry("a.tar", 3, 4096, 7);
        string[] digests =
        [
            Catalog.Create([entry]).Digest, Catalog.Create([entry with { Samples = 4 }]).Digest, Catalog.Create([entry with { Tar = "b.tar" }]).Digest,
            Catalog.Create([entry with { IndexDigest = 8 }]).Digest, Catalog.Create([entry, entry]).Digest, Catalog.Create([entry], new byte[] { 1 }).Digest,
        ];
        digests.Distinct().Count().ShouldBe(digests.Length);
        digests[0].Length.ShouldBe(64);
    }

    [Fact]
    public void Parse_AnyByteChangedOrCut_IsADatasetException()
    {
        var sound = Catalog.Create([new ShardEntry("a.tar", 3, 4096, 7), new ShardEntry("ab.tar", 1, 2048, 9)]).FileBytes.ToArray();
        for (var i = 0; i < sound.Length; i++)
        {
            var changed = sound.ToArray();
            changed[i] ^= 0x40;
            Should.Throw<DatasetException>(() => Catalog.Parse(changed, "here")).Where.ShouldBe("here");
            Should.Throw<DatasetException>(() => Catalog.Parse(sound[..i], "here"));
        }
    }

    [Fact]
    public void Load_MissingFolder_SaysSo()
    {
        using var scratch = new Scratch();
        Should.Throw<DatasetException>(() => Catalog.Load(scratch["nowhere"])).Message
            .ShouldBe($"{scratch["nowhere"]}: there is no dataset. Check the path. Make one with `darkmatter pack`.");
    }

    [Fact]
    public void Load_EmptyFolder_SaysSo()
    {
        using var scratch = new Scratch();
        Should.Throw<DatasetException>(() => Catalog.Load(scratch.Root)).Message
            .ShouldBe($"{scratch.Root}: the folder is empty; a dataset has a catalog and shards. Make one with `darkmatter pack`.");
    }

    [Fact]
    public void Load_FolderOfImages_SaysToPackIt()
    {
        using var scratch = new Scratch();
        scratch.Write("a.jpg", Files.Image("gray.jpg"));
        Should.Throw<DatasetException>(() => Catalog.Load(scratch.Root)).Message
            .ShouldBe($"{scratch.Root}: the folder has no catalog.dmc. It is not a packed dataset yet. Make one with `darkmatter pack`.");
    }

    [Fact]
    public void Load_HalfPackedFolder_SaysToGoOn()
    {
        using var scratch = new Scratch();
        scratch.Write("pack.journal", "plan\n"u8);
        Should.Throw<DatasetException>(() => Catalog.Load(scratch.Root)).Message.ShouldContain("the dataset is only partly packed. Run the same `darkmatter pack` again");
    }
}

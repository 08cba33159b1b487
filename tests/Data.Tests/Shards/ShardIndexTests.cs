namespace DarkMatter.Data.Tests.Shards;

public class ShardIndexTests
{
    [Fact]
    public void Index_WrittenAndParsed_IsTheSame()
    {
        var builder = new ShardIndex.Builder(0, []);
        for (var i = 0; i < 500; i++)
        {
            builder.AddMember(builder.Suffix("cls"), i * 4096L + 512, 2);
            builder.AddMember(builder.Suffix(i % 3 == 0 ? "jpg" : "left.png"), i * 4096L + 1024, 100 + i);
            builder.EndSample($"群/{i / 10}/sample😀{(i % 2 == 0 ? "😀" : "😁")}-{i:D4}");
        }

        var index = builder.Build(500 * 4096 + 1024);
        var parsed = ShardIndex.Parse(index.ToBytes(), "test");
        parsed.ToBytes().ShouldBe(index.ToBytes());
        parsed.Count.ShouldBe(500);
        parsed.TarBytes.ShouldBe(500 * 4096 + 1024);
        parsed.Key(123).ShouldBe("群/12/sample😀😁-0123");
        parsed.Image(123).ShouldBe(new ShardMember("jpg", 123 * 4096 + 1024, 223));
        parsed.Image(124).ShouldBe(new ShardMember("left.png", 124 * 4096 + 1024, 224));
        parsed.Find(7, "cls").ShouldBe(new ShardMember("cls", 7 * 4096 + 512, 2));
        parsed.Find(7, "txt").ShouldBeNull();
        parsed.Members(9).Count.ShouldBe(2);
    }

    [Fact]
    public void Parse_AnyByteChangedOrCut_IsADatasetException()
    {
        var builder = new ShardIndex.Builder(4096, ["jpg"]);
        builder.AddMember(0, 512, 100);
        builder.EndSample("a");
        var sound = builder.Build().ToBytes();
        for (var i = 0; i < sound.Length; i++)
        {
            var changed = sound.ToArray();
            changed[i] ^= 0x40;
            Should.Throw<DatasetException>(() => ShardIndex.Parse(changed, "here")).Where.ShouldBe("here");
            Should.Throw<DatasetException>(() => ShardIndex.Parse(sound.AsSpan(0, i), "here"));
        }
    }

    [Fact]
    public async Task Indexer_ForeignTar_ListsSamplesAndNamesThoseWithoutImage()
    {
        using var scratch = new Scratch();
        using (var file = File.Create(scratch["a.tar"]))
        {
            var tar = new TarWriter(file);
            tar.Add("__meta__/info.json", "{}"u8);
            tar.Add("x/1.jpg", "one"u8);
            tar.Add("x/1.cls", "7"u8);
            tar.Add("x/2.txt", "no image"u8);
            tar.Add("x/3.seg.png", "three"u8);
            tar.Finish();
        }

        using var store = new FileBlobStore(scratch.Root);
        var withoutImage = new List<string>();
        var index = await ShardIndexer.BuildAsync(store, "a.tar", withoutImage, default);
        index.Count.ShouldBe(2);
        index.Key(0).ShouldBe("x/1");
        index.Key(1).ShouldBe("x/3");
        withoutImage.ShouldBe(["x/2"]);
        var content = new byte[3];
        await store.ReadAsync("a.tar", index.Image(0).Offset, content, default);
        content.ShouldBe("one"u8.ToArray());
    }
}

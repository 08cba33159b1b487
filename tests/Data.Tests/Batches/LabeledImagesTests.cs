namespace DarkMatter.Data.Tests.Batches;

public class LabeledImagesTests
{
    [Fact]
    public async Task Load_Labelled_HasPixelsClassesAndKeysInCatalogOrder()
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 47);
        var all = LabeledImages.Load(dataset, 10);
        all.Count.ShouldBe(50);
        all.Images.Length.ShouldBe(50 * 300);
        for (var i = 0; i < 50; i++)
            all.Labels[i].ShouldBe(all.Keys[i].StartsWith("cats/", StringComparison.Ordinal) ? 0 : 1);

        // 12 × 10 images at size 10: the ten columns in the middle, unchanged.
        using var codec = new ImageCodec();
        var row = all.Keys.ToList().IndexOf("dogs/0007");
        var image = codec.Decode(File.ReadAllBytes(scratch["photos/dogs/0007.png"])).Pixels;
        for (var y = 0; y < 10; y++)
            all.Images.AsSpan(row * 300 + y * 30, 30).ToArray().ShouldBe(image.Slice((y * 12 + 1) * 3, 30).ToArray());

        var some = LabeledImages.Load(dataset, 10, limit: 23);
        some.Count.ShouldBe(23);
        some.Keys.ShouldBe(all.Keys.Take(23));
        some.Images.ShouldBe(all.Images[..(23 * 300)]);
        LabeledImages.Load(dataset, 10, limit: 1000).Count.ShouldBe(50);
    }

    [Fact]
    public async Task Load_WithoutLabels_NamesTheSample()
    {
        using var scratch = new Scratch();
        await PackJob.RunAsync(new PackOptions { Source = new PackSource.Folder(Photos.Folder(scratch, 3)), Destination = scratch["out"], Shuffle = false });
        Should.Throw<DatasetException>(() => LabeledImages.Load(scratch["out"], 8)).Message.ShouldBe(
            "shard-000000.tar: sample 'cats/0000' has no .cls member, so its class is unknown. Evaluate on a labelled dataset, or pack it with labels.");
    }

    [Fact]
    public async Task Load_BrokenImage_IsAnErrorThatNamesIt()
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 27);
        var key = await Photos.Break(dataset, new SampleAddress(1, 4));
        Should.Throw<DatasetException>(() => LabeledImages.Load(dataset, 8)).Message.ShouldStartWith($"shard-000001.tar: sample '{key}' is broken (");
    }

    [Fact]
    public async Task Load_LabelThatIsNoNumber_NamesTheSample()
    {
        using var scratch = new Scratch();
        using (var file = File.Create(scratch["a.tar"]))
        {
            var tar = new TarWriter(file);
            tar.Add("one.jpg", Files.Image("gray.jpg"));
            tar.Add("one.cls", "3\n"u8);
            tar.Add("two.jpg", Files.Image("gray.jpg"));
            tar.Add("two.cls", "cat"u8);
            tar.Finish();
        }

        await PackJob.RunAsync(new PackOptions { Source = new PackSource.Tars([scratch["a.tar"]], Reshard: false), Destination = scratch["out"] });
        LabeledImages.Load(scratch["out"], 8, limit: 1).Labels.ShouldBe([3]);
        Should.Throw<DatasetException>(() => LabeledImages.Load(scratch["out"], 8)).Message.ShouldContain("the .cls member of sample 'two' is no number from 0 on");
    }

    [Fact]
    public void Load_MissingDataset_SaysSo()
    {
        using var scratch = new Scratch();
        Should.Throw<DatasetException>(() => LabeledImages.Load(scratch["nowhere"], 8)).Message.ShouldContain("there is no dataset. Check the path.");
    }
}

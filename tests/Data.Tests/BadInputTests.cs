namespace DarkMatter.Data.Tests;

/// <summary>Every file of BadInputs gives the one documented error: what, where, what to do.</summary>
public class BadInputTests
{
    public static TheoryData<string, string> Images => Files.BadInputs("images");

    public static TheoryData<string, string> Tars => Files.BadInputs("tars");

    public static TheoryData<string, string> Idx => Files.BadInputs("idx");

    public static TheoryData<string, string> Catalogs => Files.BadInputs("catalogs");

    public static TheoryData<string, string> Indexes => Files.BadInputs("indexes");

    [Theory]
    [MemberData(nameof(Images))]
    public void Image_Bad_IsBrokenForAReason(string file, string expected)
    {
        using var codec = new ImageCodec();
        var bytes = File.ReadAllBytes(Files.Bad(file));
        Should.Throw<BrokenImageException>(() => codec.Decode(bytes)).Message.ShouldContain(expected);

        // The codec is as good as before.
        var sound = Files.Image("baseline-420.jpg");
        codec.Decode(sound).Region.ShouldBe(new PixelRegion(0, 0, 83, 61));
    }

    [Theory]
    [MemberData(nameof(Tars))]
    public async Task Tar_Bad_IsRefused(string file, string expected)
    {
        using var scratch = new Scratch();
        var pack = PackJob.RunAsync(new PackOptions { Source = new PackSource.Tars([Files.Bad(file)], Reshard: false), Destination = scratch["out"] });
        Check(await Should.ThrowAsync<DatasetException>(() => pack), Files.Bad(file), expected);
        Directory.Exists(scratch["out"]).ShouldBeFalse();
    }

    [Theory]
    [MemberData(nameof(Idx))]
    public async Task Idx_Bad_IsRefused(string file, string expected)
    {
        using var scratch = new Scratch();
        var pack = PackJob.RunAsync(new PackOptions { Source = new PackSource.Idx(Files.Bad(file), null), Destination = scratch["out"] });
        Check(await Should.ThrowAsync<DatasetException>(() => pack), Files.Bad(file), expected);
        Directory.Exists(scratch["out"]).ShouldBeFalse();
    }

    [Theory]
    [MemberData(nameof(Catalogs))]
    public void Catalog_Bad_IsRefused(string file, string expected) =>
        Check(Should.Throw<DatasetException>(() => Catalog.Load(Files.Bad(file))), Files.Bad(file), expected);

    [Theory]
    [MemberData(nameof(Indexes))]
    public void Index_Bad_IsRefused(string file, string expected) =>
        Check(Should.Throw<DatasetException>(() => ShardIndex.Parse(File.ReadAllBytes(Files.Bad(file)), file)), file, expected);

    private static void Check(DatasetException error, string where, string expected)
    {
        error.Message.ShouldContain(expected);
        error.Where.ShouldBe(where);
        error.Remedy.ShouldNotBeEmpty();
    }
}

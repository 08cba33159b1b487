namespace DarkMatter.Data.Tests.Packing;

public class PackErrorTests
{
    [Fact]
    public async Task Folder_Missing_SaysSo()
    {
        using var scratch = new Scratch();
        (await Fail(scratch, new PackSource.Folder(scratch["nowhere"]))).ShouldBe($"{scratch["nowhere"]}: there is no such folder. Check the path.");
    }

    [Fact]
    public async Task Folder_Empty_SaysSo()
    {
        using var scratch = new Scratch();
        Directory.CreateDirectory(scratch["in/sub"]);
        (await Fail(scratch, new PackSource.Folder(scratch["in"]))).ShouldBe($"{scratch["in"]}: the folder is empty. Give a folder with images; it is searched with all its subfolders.");
    }

    [Fact]
    public async Task Folder_WithoutImages_CountsItsFiles()
    {
        using var scratch = new Scratch();
        scratch.Write("in/a.txt", "a"u8);
        scratch.Write("in/sub/b.gif", "b"u8);
        (await Fail(scratch, new PackSource.Folder(scratch["in"]))).ShouldStartWith($"{scratch["in"]}: none of the folder's 2 files is a .jpg, .jpeg, .png or .webp.");
    }

    [Fact]
    public async Task Folder_ThatIsAFile_SaysSo()
    {
        using var scratch = new Scratch();
        (await Fail(scratch, new PackSource.Folder(scratch.Write("a.tar", "a"u8)))).ShouldContain("this is a file, not a folder");
    }

    [Fact]
    public async Task Folder_AllBroken_NamesTheFirst()
    {
        using var scratch = new Scratch();
        scratch.Write("in/a.jpg", "no"u8);
        scratch.Write("in/b.jpg", "no"u8);
        (await Fail(scratch, new PackSource.Folder(scratch["in"]))).ShouldStartWith($"{scratch["in"]}: none of the 2 images can be read; the first: a.jpg: not a JPEG, PNG or WebP.");
    }

    [Fact]
    public async Task Folder_LabelsWithoutClassFolder_NamesTheImage()
    {
        using var scratch = new Scratch();
        scratch.Write("in/cats/a.jpg", Files.Image("gray.jpg"));
        scratch.Write("in/stray.jpg", Files.Image("gray.jpg"));
        (await Fail(scratch, new PackSource.Folder(scratch["in"], LabelsFromFolders: true))).ShouldContain("'stray.jpg' lies in no class folder");
    }

    [Fact]
    public async Task Idx_MissingDebianDataset_NamesThePackage()
    {
        using var scratch = new Scratch();
        const string Path = "/usr/share/datasets/no-such-set/train-images-idx3-ubyte.gz";
        (await Fail(scratch, new PackSource.Idx(Path, null))).ShouldBe(
            $"{Path}: the IDX file of images is missing. The Debian package dataset-no-such-set brings it: apt-get install dataset-no-such-set");
    }

    [Fact]
    public async Task Idx_CountsDiffer_SaysBoth()
    {
        using var scratch = new Scratch();
        var (images, _) = Photos.Idx(scratch, 12, zipped: false);
        var labels = scratch.Write("labels", [0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3]);
        (await Fail(scratch, new PackSource.Idx(images, labels))).ShouldStartWith($"{labels}: 3 labels do not fit the 12 images of {images}.");
    }

    [Fact]
    public async Task Tars_MissingOrTwiceOrNone_SaySo()
    {
        using var scratch = new Scratch();
        (await Fail(scratch, new PackSource.Tars([scratch["a.tar"]], false))).ShouldBe($"{scratch["a.tar"]}: the tar is missing. Check the path.");
        (await Fail(scratch, new PackSource.Tars([scratch["a.tar"], scratch["a.tar"]], false))).ShouldContain("the tar was given twice");
        (await Fail(scratch, new PackSource.Tars([], true))).ShouldContain("no tar was given");
    }

    [Fact]
    public async Task Destination_NotEmpty_IsLeftAlone()
    {
        using var scratch = new Scratch();
        scratch.Write("in/a.jpg", Files.Image("gray.jpg"));
        scratch.Write("out/precious.txt", "mine"u8);
        (await Fail(scratch, new PackSource.Folder(scratch["in"]))).ShouldBe(
            $"{scratch["out"]}: the destination is not empty, and no interrupted pack. Choose an empty or new folder.");
        Directory.GetFileSystemEntries(scratch["out"]).ShouldBe([scratch["out/precious.txt"]]);
    }

    [Fact]
    public async Task Destination_OfAnotherDataset_IsLeftAlone()
    {
        using var scratch = new Scratch();
        scratch.Write("in/a.jpg", Files.Image("gray.jpg"));
        await PackJob.RunAsync(new PackOptions { Source = new PackSource.Folder(scratch["in"]), Destination = scratch["out"] });
        var before = Files.Contents(scratch["out"]);
        scratch.Write("in/b.jpg", Files.Image("gray.jpg"));
        (await Fail(scratch, new PackSource.Folder(scratch["in"]))).ShouldContain("the folder holds a dataset of another source or with other options");
        Files.Contents(scratch["out"]).ShouldBe(before);
    }

    [Fact]
    public async Task Destination_ThatIsAFile_SaysSo()
    {
        using var scratch = new Scratch();
        scratch.Write("in/a.jpg", Files.Image("gray.jpg"));
        scratch.Write("out", "a file"u8);
        (await Fail(scratch, new PackSource.Folder(scratch["in"]))).ShouldContain("the dataset cannot be written");
    }

    [Theory]
    [InlineData(0, 1 << 20, 1, "ShardSamples is 0")]
    [InlineData(1, 1000, 1, "ShardBytes is 1000")]
    [InlineData(1, 1 << 20, 0, "Workers is 0")]
    public void Options_OutOfRange_AreNamed(int samples, long bytes, int workers, string message) =>
        Should.Throw<ArgumentException>(() =>
        {
            _ = PackJob.RunAsync(new PackOptions { Source = new PackSource.Folder("in"), Destination = "out", ShardSamples = samples, ShardBytes = bytes, Workers = workers });
        }).Message.ShouldContain(message);

    private static async Task<string> Fail(Scratch scratch, PackSource source) =>
        (await Should.ThrowAsync<DatasetException>(() => PackJob.RunAsync(new PackOptions { Source = source, Destination = scratch["out"] }))).Message;
}

namespace DarkMatter.Data.Tests.Shards;

public class SampleNameTests
{
    [Theory]
    [InlineData("a.jpg", "a", "jpg")]
    [InlineData("dir.v2/a.seg.PNG", "dir.v2/a", "seg.png")]
    [InlineData("./dir/a.cls", "dir/a", "cls")]
    [InlineData("000/__a.jpg", "000/__a", "jpg")]
    public void Name_WithDot_SplitsAtFirstDotOfBaseName(string name, string key, string suffix)
    {
        SampleName.TrySplit(name, out var actualKey, out var actualSuffix).ShouldBeTrue();
        actualKey.ShouldBe(key);
        actualSuffix.ShouldBe(suffix);
    }

    [Theory]
    [InlineData("README")]
    [InlineData(".hidden.jpg")]
    [InlineData("dir/.hidden")]
    [InlineData("a.")]
    [InlineData("__index__/a.jpg")]
    [InlineData("dir/__meta__")]
    [InlineData("")]
    public void Name_OfNoSample_IsSkipped(string name) => SampleName.TrySplit(name, out _, out _).ShouldBeFalse();

    [Theory]
    [InlineData("cats/one.jpg", "cats/one")]
    [InlineData("cats/v1.2/one.two.jpg", "cats/v1.2/one_two")]
    [InlineData("__cats__/one.jpg", "x__cats__/one")]
    public void KeyForFile_KeepsFoldersAndDropsDots(string path, string key)
    {
        SampleName.KeyForFile(path).ShouldBe(key);
        SampleName.TrySplit(key + ".jpg", out var parsed, out _).ShouldBeTrue();
        parsed.ShouldBe(key);
    }
}

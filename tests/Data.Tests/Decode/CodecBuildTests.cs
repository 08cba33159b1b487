using System.Diagnostics;

namespace DarkMatter.Data.Tests.Decode;

/// <summary>native/codecs/build.sh says what is missing, in a form that MSBuild shows as an error.</summary>
public class CodecBuildTests
{
    [Fact]
    public void Build_WithoutCompiler_NamesThePackage()
    {
        using var scratch = new Scratch();
        Build(scratch, "CC", "no-such-compiler").ShouldBe(
            "codecs : error DM0101: there is no C compiler ('no-such-compiler'). Install it: apt-get install gcc libc6-dev");
    }

    [Fact]
    public void Build_WithoutHeaders_NamesThePackages()
    {
        using var scratch = new Scratch();
        Build(scratch, "CPPFLAGS", "-nostdinc").ShouldBe(
            "codecs : error DM0102: the image codecs need headers that are not installed. "
            + "Install them: apt-get install libjpeg62-turbo-dev libspng-dev libwebp-dev");
    }

    private static string Build(Scratch scratch, string variable, string value)
    {
        var root = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(root.FullName, "native/codecs/build.sh")))
            root = root.Parent ?? throw new InvalidOperationException("The tests run outside the repository: native/codecs/build.sh is not above them.");
        var start = new ProcessStartInfo("sh", [Path.Combine(root.FullName, "native/codecs/build.sh"), scratch["out.so"]]) { RedirectStandardOutput = true };
        start.Environment[variable] = value;
        using var process = Process.Start(start).ShouldNotBeNull();
        var output = process.StandardOutput.ReadToEnd().Trim();
        process.WaitForExit(TimeSpan.FromSeconds(30)).ShouldBeTrue();
        process.ExitCode.ShouldBe(1);
        File.Exists(scratch["out.so"]).ShouldBeFalse();
        return output;
    }
}

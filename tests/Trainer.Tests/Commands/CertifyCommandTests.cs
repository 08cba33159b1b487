using DarkMatter.Trainer.Commands;

namespace DarkMatter.Trainer.Tests.Commands;

public sealed class CertifyCommandTests
{
    [Theory]
    [InlineData("--method", ",")]
    [InlineData("--method", "")]
    [InlineData("--method", "simclr,nothing")]
    [InlineData("--world", ",")]
    [InlineData("--world", "2,x")]
    [InlineData("--precision", ",")]
    [InlineData("--precision", "bfloat16")]
    [InlineData("--steps", "0")]
    public async Task Certify_ListThatAsksForNothing_IsRefused(string option, string value) =>
        (await CommandTree.RunAsync(["certify", option, value])).ShouldBe(ExitCode.BadRequest);
}

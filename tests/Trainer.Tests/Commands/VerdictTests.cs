using DarkMatter.Trainer.Commands;
using DarkMatter.Trainer.Commands.Local;

namespace DarkMatter.Trainer.Tests.Commands;

public sealed class VerdictTests
{
    private static ChildExit Exit(string name, int code) => new(name, 100, code);

    [Fact]
    public void Cause_TheKilledOne_EvenWhenSeenLast() =>
        Verdict.Cause([Exit("trainer-0", ExitCode.LostTrainer), Exit("trainer-2", ExitCode.LostTrainer), Exit("trainer-1", 137)])!.Name.ShouldBe("trainer-1");

    [Fact]
    public void Cause_TheFirstOfTwoKilled() =>
        Verdict.Cause([Exit("silo", 137), Exit("trainer-1", 143)])!.Name.ShouldBe("silo");

    [Fact]
    public void Cause_AnErrorOfItsOwn_BeforeConsequences() =>
        Verdict.Cause([Exit("trainer-0", ExitCode.LostSilo), Exit("silo", ExitCode.Failed)])!.Name.ShouldBe("silo");

    [Fact]
    public void Cause_None_WhenNobodyEnded() => Verdict.Cause([]).ShouldBeNull();

    [Fact]
    public void MayStillChange_WhileOnlyConsequencesAreKnown()
    {
        Verdict.MayStillChange([Exit("trainer-0", ExitCode.LostTrainer), Exit("trainer-2", ExitCode.LostSilo)]).ShouldBeTrue();
        Verdict.MayStillChange([Exit("trainer-0", ExitCode.LostTrainer), Exit("trainer-1", 137)]).ShouldBeFalse();
        Verdict.MayStillChange([]).ShouldBeFalse();
    }

    [Theory]
    [InlineData(137, "was killed by SIGKILL")]
    [InlineData(139, "was killed by SIGSEGV")]
    [InlineData(1, "ended with exit code 1")]
    [InlineData(0, "ended")]
    public void Describe_NamesSignals(int code, string expected) => ExitCode.Describe(code).ShouldBe(expected);
}

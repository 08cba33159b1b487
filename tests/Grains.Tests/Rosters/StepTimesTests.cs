namespace DarkMatter.Grains.Tests;

public sealed class StepTimesTests
{
    private static StepTimes After(int steps, params double[] seconds)
    {
        var times = new StepTimes();
        for (int step = 1; step <= steps; step++)
        {
            for (int rank = 0; rank < seconds.Length; rank++)
            {
                times.Add($"t-{rank}", step, seconds[rank]);
            }
        }

        return times;
    }

    [Fact]
    public void SlowRank_IsNamedOnce_AfterFiveSteps()
    {
        After(4, 1, 1, 2).Changes().ShouldBeEmpty();
        var times = After(5, 1, 1.1, 1.7);
        times.Changes().ShouldBe(["t-2 is slow: its steps compute for 1.7 s, those of the others for 1.1 s."]);
        times.IsSlow("t-2").ShouldBeTrue();
        times.Changes().ShouldBeEmpty();
        times.Last("t-2").ShouldBe(1.7);
    }

    [Theory]
    [InlineData(1.5)]
    [InlineData(0.1)]
    public void WithinTheFactor_NobodyIsSlow(double third) => After(9, 1, 1, third).Changes().ShouldBeEmpty();

    [Fact]
    public void Recovered_IsToldOnce_NotAtTheFirstBetterStep()
    {
        var times = After(5, 1, 2);
        times.Changes().ShouldHaveSingleItem().ShouldStartWith("t-1 is slow");
        for (int step = 6; step <= 10; step++)
        {
            times.Add("t-0", step, 1);
            times.Add("t-1", step, 1.2);
            times.Changes().ShouldBe(step == 8 ? ["t-1 is as fast as the others again."] : []);
        }
    }

    [Fact]
    public void AStepToldTwice_OrOfUnknownTime_DoesNotCount()
    {
        var times = After(4, 1, 2);
        times.Add("t-1", 4, 2);
        times.Add("t-1", 5, 0);
        times.Add("t-0", 5, 1);
        times.Changes().ShouldBeEmpty();
    }

    [Fact]
    public void Alone_NobodyIsSlow() => After(9, 3).Changes().ShouldBeEmpty();
}

using DarkMatter.Trainer.Commands.Local;

namespace DarkMatter.Trainer.Tests.Commands;

public sealed class TimePlanTests
{
    [Theory]
    [InlineData(60, 0, 46, 9)]
    [InlineData(340, 10, 274, 51)]
    [InlineData(3600, 0, 3535, 60)]
    [InlineData(10, 8, 5, 5)]
    public void Split_LeavesTimeForStartUpAndEvaluation(double whole, double elapsed, double training, double evaluation)
    {
        var plan = TimePlan.Split(TimeSpan.FromSeconds(whole), TimeSpan.FromSeconds(elapsed), evaluate: true);
        plan.Training.TotalSeconds.ShouldBe(training, 1e-6);
        plan.Evaluation.TotalSeconds.ShouldBe(evaluation, 1e-6);
    }

    [Fact]
    public void Split_WithoutEvaluation_GivesItsTimeToTraining() =>
        TimePlan.Split(TimeSpan.FromSeconds(60), TimeSpan.Zero, evaluate: false).Training.TotalSeconds.ShouldBe(55, 1e-6);

    [Theory]
    [InlineData(10, 10_000, 10_000, 60_000, 60_000)]
    [InlineData(7, 10_000, 10_000, 60_000, 60_000)]
    [InlineData(5, 10_000, 10_000, 60_000, 40_000)]
    [InlineData(1, 1_000, 10_000, 60_000, 5_000)]
    [InlineData(1, 1_000, 10_000, 3_000, 3_000)]
    public void BankThatFits_IsBetweenTheLeastAndAll(double seconds, double rate, int queries, int bank, int expected) =>
        TimePlan.BankThatFits(TimeSpan.FromSeconds(seconds), rate, queries, bank, atLeast: 5_000).ShouldBe(expected);
}

using DarkMatter.Trainer.Commands.Local;

namespace DarkMatter.Trainer.Tests.Commands;

public sealed class TimePlanTests
{
    [Theory]
    [InlineData(60, 51)]
    [InlineData(340, 289)]
    [InlineData(3600, 3540)]
    [InlineData(10, 5)]
    public void Split_LeavesTimeForEvaluation(double whole, double trainUntil) =>
        TimePlan.Split(TimeSpan.FromSeconds(whole), evaluate: true).TrainUntil.TotalSeconds.ShouldBe(trainUntil, 1e-6);

    [Fact]
    public void Split_WithoutEvaluation_GivesItsTimeToTraining() =>
        TimePlan.Split(TimeSpan.FromSeconds(60), evaluate: false).TrainUntil.TotalSeconds.ShouldBe(60, 1e-6);

    [Theory]
    [InlineData(50, 10)]
    [InlineData(58, 5)]
    [InlineData(90, 5)]
    public void EvaluationAfter_IsWhatIsLeft_AndNeverNothing(double elapsed, double expected) =>
        TimePlan.Split(TimeSpan.FromSeconds(60), evaluate: true).EvaluationAfter(TimeSpan.FromSeconds(elapsed)).TotalSeconds.ShouldBe(expected, 1e-6);

    [Theory]
    [InlineData(7, 60_000, 10_000)]
    [InlineData(4, 30_000, 10_000)]
    [InlineData(1, 5_000, 5_000)]
    [InlineData(0.1, 5_000, 1_000)]
    public void ImagesThatFit_AreBetweenTheLeastAndAll(double seconds, int bank, int queries) =>
        TimePlan.ImagesThatFit(TimeSpan.FromSeconds(seconds), 10_000, 60_000, 10_000, leastBank: 5_000, leastQueries: 1_000).ShouldBe((bank, queries));

    [Fact]
    public void ImagesThatFit_OfASmallDataset_AreAllOfIt() =>
        TimePlan.ImagesThatFit(TimeSpan.FromSeconds(0.1), 10, 300, 50, leastBank: 5_000, leastQueries: 1_000).ShouldBe((300, 50));
}

using DarkMatter.Trainer.Evaluation;

namespace DarkMatter.Trainer.Tests.Evaluation;

public sealed class SeparationTests
{
    [Theory]
    [InlineData(new double[] { 1, 2 }, new double[] { 3, 4 }, 1.0)]
    [InlineData(new double[] { 3, 4 }, new double[] { 1, 2 }, 0.0)]
    [InlineData(new double[] { 1, 1 }, new double[] { 1 }, 0.5)]
    [InlineData(new double[] { 1, 3 }, new double[] { 2 }, 0.5)]
    [InlineData(new double[] { 1, 2 }, new double[] { 2, 5 }, 0.875)]
    public void Auc_SmallSets_CountsPairs(double[] matching, double[] others, double expected) => Separation.Auc(matching, others).ShouldBe(expected, 1e-15);

    [Fact]
    public void Auc_RandomSetsWithTies_IsWhatCountingEveryPairGives()
    {
        var random = new Random(3);
        double[] matching = [.. Enumerable.Range(0, 300).Select(_ => (double)random.Next(40))];
        double[] others = [.. Enumerable.Range(0, 217).Select(_ => (double)random.Next(10, 60))];
        var pairs = from m in matching from o in others select m < o ? 1.0 : m == o ? 0.5 : 0;
        Separation.Auc(matching, others).ShouldBe(pairs.Average(), 1e-12);
    }

    [Fact]
    public void Auc_NothingOrNoNumber_IsRefused()
    {
        Should.Throw<ArgumentException>(() => Separation.Auc([], [1])).Message.ShouldContain("0 matching and 1 others");
        Should.Throw<ArgumentException>(() => Separation.Auc([1], [double.NaN])).Message.ShouldContain("not finite");
    }
}

using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class ByolTests
{
    private const int N = 5, D = 4;

    [Fact]
    public void Regression_RandomRows_IsTheSquaredDistanceOfUnitRowsWhateverTheirLength()
    {
        using var scope = NewDisposeScope();
        var (p, t) = (Rows.Random(N, D, 1), Rows.Random(N, D, 2));
        double[] expected = [.. Rows.Unit(p).Zip(Rows.Unit(t), (a, b) => a.Zip(b, (x, y) => (x - y) * (x - y)).Sum())];
        SmallMethods.Doubles(Byol.Regression(Rows.Tensor(p), Rows.Tensor(t))).ShouldBe(expected, 1e-12);
        SmallMethods.Doubles(Byol.Regression(7 * Rows.Tensor(p), 0.1 * Rows.Tensor(t))).ShouldBe(expected, 1e-12);
    }

    [Fact]
    public void Regression_Gradient_EqualsFiniteDifferences()
    {
        using var scope = NewDisposeScope();
        var t = Rows.Tensor(Rows.Random(N, D, 3));
        Rows.ShouldHaveGradientOfDifferences(p => Byol.Regression(p, t).sum(), Rows.Random(N, D, 4));
    }

    [Fact]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs() => WholeLoss.ShouldBe(
        "byol", updates: 2,
        n => (First: n.Unit(n.View(0), "target_backbone", "target_projector"), Second: n.Unit(n.View(1), "target_backbone", "target_projector")),
        (n, target) =>
        {
            var (first, second) = (n.Unit(n.View(0), "backbone", "projector", "predictor"), n.Unit(n.View(1), "backbone", "projector", "predictor"));
            return Enumerable.Range(0, Networks.Images).Average(i => Rows.SquaredDistance(first[i], target.Second[i]) + Rows.SquaredDistance(second[i], target.First[i]));
        });

    /// <summary>DeepMind's schedule, k counted from 0: m₀ at the first update, nearly 1 at the last.</summary>
    [Theory]
    [InlineData(0, 0.9)]
    [InlineData(50, 0.95)]
    [InlineData(100, 1.0)]
    [InlineData(120, 1.0)]
    public void Momentum_AlongTheRun_RisesToOne(long k, double expected) =>
        MovingAverage.Cosine(0.9, k, 100).ShouldBe(expected, 1e-12);

    [Fact]
    public void AfterUpdate_OnlineMoved_TargetIsTheAverageAndHasNoGradient()
    {
        using var scope = NewDisposeScope();
        using var method = SmallMethods.Create("byol", new SingleRank(1), [SmallMethods.Images], ScalarType.Float64);
        var parameters = method.Network.named_parameters().ToDictionary(p => p.name, p => p.parameter);
        var (online, target) = (parameters["projector.0.weight"], parameters["target_projector.0.weight"]);
        SmallMethods.Doubles(target).ShouldBe(SmallMethods.Doubles(online), "the target starts as a copy");
        var start = SmallMethods.Doubles(target);
        using (no_grad())
            online.add_(1);
        method.AfterUpdate(step: 1, totalSteps: 1000);
        SmallMethods.Doubles(target).ShouldBe([.. start.Select(v => (0.8 * v) + (0.2 * (v + 1)))], 1e-12);

        method.Loss(SmallMethods.Views("byol", 0, [SmallMethods.Images], ScalarType.Float64, 0)).Value.backward();
        foreach (var (name, parameter) in parameters)
            (parameter.grad is not null).ShouldBe(!name.StartsWith("target_", StringComparison.Ordinal), name);
    }
}

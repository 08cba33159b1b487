using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class SimSiamTests
{
    private const int N = 5, D = 4;

    [Fact]
    public void D_RandomRows_IsTheNegativeCosineWithoutGradientIntoZ()
    {
        using var scope = NewDisposeScope();
        var (p, z) = (Rows.Random(N, D, 1), Rows.Random(N, D, 2));
        var (tp, tz) = (Rows.Tensor(p).requires_grad_(), Rows.Tensor(z).requires_grad_());
        var d = SimSiam.D(tp, tz);
        SmallMethods.Doubles(d).ShouldBe([.. p.Zip(z, (a, b) => -Rows.Cosine(a, b))], 1e-12);
        d.sum().backward();
        tp.grad.ShouldNotBeNull();
        tz.grad.ShouldBeNull("stopping this gradient is all that prevents collapse");
    }

    [Fact]
    public void D_Gradient_EqualsFiniteDifferences()
    {
        using var scope = NewDisposeScope();
        var z = Rows.Tensor(Rows.Random(N, D, 3));
        Rows.ShouldHaveGradientOfDifferences(p => SimSiam.D(p, z).sum(), Rows.Random(N, D, 4));
    }

    [Fact]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs() => WholeLoss.ShouldBe(
        "simsiam", updates: 1,
        n => (First: n.Rows(n.View(0), "backbone", "projector"), Second: n.Rows(n.View(1), "backbone", "projector")),
        (n, z) =>
        {
            var (first, second) = (n.Rows(n.View(0), "backbone", "projector", "predictor"), n.Rows(n.View(1), "backbone", "projector", "predictor"));
            return Enumerable.Range(0, Networks.Images).Average(i => -(Rows.Cosine(first[i], z.Second[i]) / 2) - (Rows.Cosine(second[i], z.First[i]) / 2));
        });

    [Fact]
    public void UpdateOf_PredictorAlone_KeepsItsLearningRate()
    {
        using var method = SmallMethods.Create("simsiam", new SingleRank(1), [SmallMethods.Images], ScalarType.Float32);
        foreach (var (name, _) in method.Network.named_parameters())
            method.UpdateOf(name, 10).ShouldBe(name.StartsWith("predictor.", StringComparison.Ordinal) ? ParameterUpdate.ConstantRate : ParameterUpdate.Scheduled, name);
    }
}

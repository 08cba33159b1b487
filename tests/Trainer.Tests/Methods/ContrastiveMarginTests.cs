using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class ContrastiveMarginTests
{
    private const int N = 5, D = 3;

    [Fact]
    public void Objective_RandomEmbeddings_EqualsTheSumWrittenOutAndDoesNotMindShifts()
    {
        using var scope = NewDisposeScope();
        var (z1, z2) = (Rows.Random(N, D, 3), Rows.Random(N, D, 4));
        var expected = Twin(z1, z2, 1.2);
        var (t1, t2) = (Rows.Tensor(z1), Rows.Tensor(z2));
        ContrastiveMargin.Objective(t1, t2, Rows.OneRank(N), 1.2).item<double>().ShouldBe(expected, 1e-10);
        ContrastiveMargin.Objective(t1 + 5, t2 + 5, Rows.OneRank(N), 1.2).item<double>().ShouldBe(expected, 1e-10);
    }

    [Fact]
    public void Objective_Gradient_EqualsFiniteDifferences()
    {
        using var scope = NewDisposeScope();
        var z2 = Rows.Tensor(Rows.Random(N, D, 5));
        Rows.ShouldHaveGradientOfDifferences(z1 => ContrastiveMargin.Objective(z1, z2, Rows.OneRank(N), 1.5), Rows.Random(N, D, 6));
    }

    [Fact]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs() => WholeLoss.ShouldBe(
        "contrastive_margin", updates: 1, _ => 0, (n, _) => Twin(n.Rows(n.View(0), "backbone", "projector"), n.Rows(n.View(1), "backbone", "projector"), margin: 1.5));

    /// <summary>Views a thousandth apart, in embeddings as long as float32's digits allow for: the images' own lengths, or a shift that all share.</summary>
    [Theory]
    [InlineData(100, 0)]
    [InlineData(1, 100)]
    public void Objective_NearPairsInFloat32_HasLossAndGradientOfFloat64(double length, double shift)
    {
        using var scope = NewDisposeScope();
        var first = ((length * Rows.Tensor(Rows.Random(N, D, 7))) + shift).to(ScalarType.Float32);
        var second = (first + (1e-3 * Rows.Tensor(Rows.Random(N, D, 8)))).to(ScalarType.Float32);
        var (loss, gradient) = Of(ScalarType.Float32);
        var (expectedLoss, expected) = Of(ScalarType.Float64);
        loss.ShouldBe(expectedLoss, 1e-4 * expectedLoss);
        (gradient - expected).norm().item<double>().ShouldBeLessThan(1e-3 * expected.norm().item<double>());

        (double Loss, Tensor Gradient) Of(ScalarType type)
        {
            var z1 = first.to(type).detach().clone().requires_grad_();
            var value = ContrastiveMargin.Objective(z1, second.to(type), Rows.OneRank(N), 1.5);
            value.backward();
            return (value.to(ScalarType.Float64).item<double>(), z1.grad!.to(ScalarType.Float64));
        }
    }

    private static double Twin(double[][] z1, double[][] z2, double margin)
    {
        double same = 0, others = 0;
        for (var i = 0; i < z1.Length; i++)
        {
            for (var j = 0; j < z1.Length; j++)
            {
                var d = Math.Sqrt(Rows.SquaredDistance(z1[i], z2[j]));
                if (i == j)
                    same += d * d / 2 / z1.Length;
                else
                    others += Math.Pow(Math.Max(0, margin - d), 2) / 2 / (z1.Length * (z1.Length - 1));
            }
        }

        return same + others;
    }
}

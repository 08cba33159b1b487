using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class VicRegTests
{
    private const int N = 7, D = 4;
    private static readonly VicRegOptions Options = new() { Invariance = 3, Variance = 5, Covariance = 2 };

    [Fact]
    public void Objective_RandomEmbeddings_EqualsTheSumWrittenOut()
    {
        using var scope = NewDisposeScope();
        var (z1, z2) = (Rows.Random(N, D, 1), Rows.Random(N, D, 2));
        Loss(Rows.Tensor(z1), Rows.Tensor(z2)).item<double>().ShouldBe(Twin(z1, z2, Options), 1e-12);
    }

    [Fact]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs() => WholeLoss.ShouldBe(
        "vicreg", updates: 1, _ => 0,
        (n, _) => Twin(n.Rows(n.View(0), "backbone", "projector"), n.Rows(n.View(1), "backbone", "projector"), new VicRegOptions { Invariance = 25, Variance = 25, Covariance = 1 }));

    /// <summary>Columns of signs that do not correlate, × 100: next to their variances of 1e4, what little is added is all there is to see.</summary>
    [Fact]
    public void Objective_LargeVariancesAndNearViewsInFloat32_IsThatOfFloat64()
    {
        using var scope = NewDisposeScope();
        double[][] signs = [.. Enumerable.Range(0, 64).Select(i => Enumerable.Range(1, 63).Select(j => int.IsEvenInteger(int.PopCount(i & j)) ? 100.0 : -100.0).ToArray())];
        var first = (Rows.Tensor(signs) + (0.1 * Rows.Tensor(Rows.Random(64, 63, 7)))).to(ScalarType.Float32);
        var second = (first + (0.01 * Rows.Tensor(Rows.Random(64, 63, 8)))).to(ScalarType.Float32);
        double Of(ScalarType type, VicRegOptions options) => VicReg.Objective(first.to(type), second.to(type), Rows.OneRank(64), options).to(ScalarType.Float64).item<double>();
        foreach (var options in (VicRegOptions[])[Options with { Variance = 0, Covariance = 0 }, Options with { Invariance = 0, Variance = 0 }])
        {
            var expected = Of(ScalarType.Float64, options);
            Of(ScalarType.Float32, options).ShouldBe(expected, 1e-3 * expected, $"{options}");
        }
    }

    [Fact]
    public void Objective_Gradient_EqualsFiniteDifferences()
    {
        using var scope = NewDisposeScope();
        var z2 = Rows.Tensor(Rows.Random(N, D, 3));
        Rows.ShouldHaveGradientOfDifferences(z1 => Loss(z1, z2), Rows.Random(N, D, 4));
    }

    [Fact]
    public void Objective_ViewsExchangedOrBothShifted_IsTheSame()
    {
        using var scope = NewDisposeScope();
        var (z1, z2) = (Rows.Tensor(Rows.Random(N, D, 5)), Rows.Tensor(Rows.Random(N, D, 6)));
        var loss = Loss(z1, z2).item<double>();
        Loss(z2, z1).item<double>().ShouldBe(loss, 1e-12);
        Loss(z1 + 17, z2 + 17).item<double>().ShouldBe(loss, 1e-10);
        VicReg.Covariance(z1 - 4).item<double>().ShouldBe(VicReg.Covariance(z1).item<double>(), 1e-10);
    }

    [Fact]
    public void Objective_AllEmbeddingsEqual_IsTheFullHinge()
    {
        using var scope = NewDisposeScope();
        var same = ones([N, D], dtype: ScalarType.Float64);
        // Nothing varies: √1e-4 is all that the hinge sees.
        Loss(same, same).item<double>().ShouldBe(Options.Variance * (1 - 0.01), 1e-12);
    }

    private static Tensor Loss(Tensor z1, Tensor z2) => VicReg.Objective(z1, z2, Rows.OneRank(N), Options);

    private static double Twin(double[][] z1, double[][] z2, VicRegOptions options)
    {
        var (n, d) = (z1.Length, z1[0].Length);
        double Covariance(double[][] z, int i, int j)
        {
            var (a, b) = (Rows.Column(z, i), Rows.Column(z, j));
            var (meanA, meanB) = (a.Average(), b.Average());
            return a.Zip(b, (x, y) => (x - meanA) * (y - meanB)).Sum() / (n - 1);
        }

        var dimensions = Enumerable.Range(0, d).ToList();
        var invariance = z1.Zip(z2, (a, b) => a.Zip(b, (x, y) => (x - y) * (x - y)).Sum()).Sum() / (n * d);
        double variance = 0, covariance = 0;
        foreach (var z in (double[][][])[z1, z2])
        {
            variance += dimensions.Average(i => Math.Max(0, 1 - Math.Sqrt(Covariance(z, i, i) + 1e-4))) / 2;
            covariance += dimensions.Sum(i => dimensions.Where(j => j != i).Sum(j => Covariance(z, i, j) * Covariance(z, i, j))) / d;
        }

        return (options.Invariance * invariance) + (options.Variance * variance) + (options.Covariance * covariance);
    }
}

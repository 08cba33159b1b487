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
        Loss(Rows.Tensor(z1), Rows.Tensor(z2)).item<double>().ShouldBe(Twin(z1, z2), 1e-12);
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

    private static double Twin(double[][] z1, double[][] z2)
    {
        double Covariance(double[][] z, int i, int j)
        {
            var (a, b) = (Rows.Column(z, i), Rows.Column(z, j));
            var (meanA, meanB) = (a.Average(), b.Average());
            return a.Zip(b, (x, y) => (x - meanA) * (y - meanB)).Sum() / (N - 1);
        }

        var dimensions = Enumerable.Range(0, D).ToList();
        var invariance = z1.Zip(z2, (a, b) => a.Zip(b, (x, y) => (x - y) * (x - y)).Sum()).Sum() / (N * D);
        double variance = 0, covariance = 0;
        foreach (var z in (double[][][])[z1, z2])
        {
            variance += dimensions.Average(i => Math.Max(0, 1 - Math.Sqrt(Covariance(z, i, i) + 1e-4))) / 2;
            covariance += dimensions.Sum(i => dimensions.Where(j => j != i).Sum(j => Covariance(z, i, j) * Covariance(z, i, j))) / D;
        }

        return (Options.Invariance * invariance) + (Options.Variance * variance) + (Options.Covariance * covariance);
    }
}

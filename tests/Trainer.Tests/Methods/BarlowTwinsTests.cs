using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class BarlowTwinsTests
{
    private const int N = 7, D = 4;
    private const double Lambda = 0.03;

    [Fact]
    public void Loss_RandomEmbeddings_EqualsTheSumWrittenOut()
    {
        using var scope = NewDisposeScope();
        var (z1, z2) = (Rows.Random(N, D, 1), Rows.Random(N, D, 2));
        Loss(Rows.Tensor(z1), Rows.Tensor(z2)).item<double>().ShouldBe(Twin(z1, z2, Lambda), 1e-12);
    }

    [Fact]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs() => WholeLoss.ShouldBe(
        "barlow_twins", updates: 1, _ => 0, (n, _) => Twin(n.Rows(n.View(0), "backbone", "projector"), n.Rows(n.View(1), "backbone", "projector"), lambda: 0.02));

    [Fact]
    public void Loss_Gradient_EqualsFiniteDifferences()
    {
        using var scope = NewDisposeScope();
        var z2 = Rows.Tensor(Rows.Random(N, D, 3));
        Rows.ShouldHaveGradientOfDifferences(z1 => Loss(z1, z2), Rows.Random(N, D, 4));
    }

    [Fact]
    public void Loss_ViewsExchangedSharedOrderOrSignOfDimensionsAndScale_IsTheSame()
    {
        using var scope = NewDisposeScope();
        var (z1, z2) = (Rows.Tensor(Rows.Random(N, D, 5)), Rows.Tensor(Rows.Random(N, D, 6)));
        var loss = Loss(z1, z2).item<double>();
        var order = tensor(new long[] { 2, 0, 3, 1 });
        var sign = tensor(new double[] { -1, 1, -1, 1 });
        Loss(z2, z1).item<double>().ShouldBe(loss, 1e-12);
        Loss(z1.index_select(1, order), z2.index_select(1, order)).item<double>().ShouldBe(loss, 1e-12);
        Loss(z1 * sign, z2 * sign).item<double>().ShouldBe(loss, 1e-12);
        Loss((100 * z1) + 3, 100 * z2).item<double>().ShouldBe(loss, 1e-3, "scale matters only through eps");
    }

    [Fact]
    public void Objective_Identity_IsZeroAndCollapseIsNot()
    {
        using var scope = NewDisposeScope();
        BarlowTwins.Objective(eye(D, dtype: ScalarType.Float64), Lambda).item<double>().ShouldBe(0);
        var same = ones([N, D], dtype: ScalarType.Float64);
        Loss(same, same).item<double>().ShouldBe(D, 1e-12, "constant embeddings correlate with nothing: every diagonal element is 0");
    }

    private static Tensor Loss(Tensor z1, Tensor z2)
    {
        var standardize = new Normalization(TorchStack.Current, null).Layer(D, shift: false, scale: false).to(ScalarType.Float64);
        return BarlowTwins.Objective(BarlowTwins.CrossCorrelation(standardize.call(z1), standardize.call(z2), Rows.OneRank(N)), Lambda);
    }

    private static double Twin(double[][] z1, double[][] z2, double lambda)
    {
        double[] Standardized(double[] column)
        {
            var mean = column.Average();
            var variance = column.Average(v => (v - mean) * (v - mean));
            return [.. column.Select(v => (v - mean) / Math.Sqrt(variance + 1e-5))];
        }

        var loss = 0.0;
        for (var i = 0; i < z1[0].Length; i++)
        {
            for (var j = 0; j < z1[0].Length; j++)
            {
                var c = Rows.Dot(Standardized(Rows.Column(z1, i)), Standardized(Rows.Column(z2, j))) / z1.Length;
                loss += i == j ? (1 - c) * (1 - c) : lambda * c * c;
            }
        }

        return loss;
    }
}

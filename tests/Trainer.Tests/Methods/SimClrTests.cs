using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class SimClrTests
{
    private const int N = 6, D = 5;

    [Theory]
    [InlineData(0.1)]
    [InlineData(0.5)]
    [InlineData(2.0)]
    public void NtXent_OneRank_EqualsTheSumWrittenOut(double temperature)
    {
        var z = Unit(Random(2 * N * D, seed: 1), 2 * N);
        using var scope = NewDisposeScope();
        var t = Rows(z);
        var share = OneRank();
        SimClr.NtXent(t, t, share, temperature).item<double>().ShouldBe(Twin(z, temperature), 1e-12);
    }

    [Fact]
    public void NtXent_Gradient_EqualsFiniteDifferences()
    {
        var z = Random(2 * N * D, seed: 2);
        using var scope = NewDisposeScope();
        var t = Rows(z).requires_grad_();
        var unit = nn.functional.normalize(t, dim: 1);
        SimClr.NtXent(unit, unit, OneRank(), 0.5).backward();
        var gradient = t.grad!.flatten().data<double>().ToArray();
        const double h = 1e-5;
        for (var i = 0; i < z.Length; i++)
        {
            double At(double delta)
            {
                var moved = (double[])z.Clone();
                moved[i] += delta;
                return Twin(Unit(moved, 2 * N), 0.5);
            }

            gradient[i].ShouldBe((At(h) - At(-h)) / (2 * h), 1e-8);
        }
    }

    [Fact]
    public void NtXent_AllEmbeddingsEqual_IsTheLogarithmOfTheCandidates()
    {
        using var scope = NewDisposeScope();
        var t = ones([2 * N, D], dtype: ScalarType.Float64) / Math.Sqrt(D);
        SimClr.NtXent(t, t, OneRank(), 0.5).item<double>().ShouldBe(Math.Log((2 * N) - 1), 1e-12);
    }

    [Theory]
    [InlineData(1, 5)]
    [InlineData(4, 2)]
    public void NtXent_PartsOfUnevenRanks_SumToOneRanksLoss(int first, int second)
    {
        var n = first + second;
        var z = Unit(Random(2 * n * D, seed: 3), 2 * n);
        var parts = ThreadRanks.Run(2, ranks =>
        {
            using var scope = NewDisposeScope();
            using var grad = no_grad();
            var (begin, count) = ranks.Rank == 0 ? (0, first) : (first, second);
            var mine = z[(begin * D)..((begin + count) * D)].Concat(z[((n + begin) * D)..((n + begin + count) * D)]).ToArray();
            var t = Rows(mine);
            var share = new RankShare(ranks, [first, second]);
            share.Total.ShouldBe(n);
            var all = Gather.Rows(t, ranks, share.Counts.Select(c => 2 * c).ToArray());
            all.shape.ShouldBe([2 * n, D]);
            return SimClr.NtXent(t, all, share, 0.5).item<double>();
        });
        parts.Sum().ShouldBe(Twin(z, 0.5), 1e-12);
    }

    [Fact]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs() => WholeLoss.ShouldBe(
        "simclr", updates: 1, _ => 0, (n, _) =>
        {
            var z = n.Unit(n.BothViews(), "backbone", "projector");
            return Enumerable.Range(0, z.Length).Average(i =>
            {
                int[] candidates = [.. Enumerable.Range(0, z.Length).Where(j => j != i)];    // 2N − 1
                return Methods.Rows.Surprise(candidates.Select(j => Methods.Rows.Dot(z[i], z[j]) / 0.2), Array.IndexOf(candidates, (i + Networks.Images) % z.Length));
            });
        });

    /// <summary>−log( e^(s(i,j)/τ) / Σ over k≠i of e^(s(i,k)/τ) ), mean over the 2n anchors; rows i and i+n are views of one image.</summary>
    private static double Twin(double[] z, double temperature)
    {
        var rows = z.Length / D;
        double Similarity(int a, int b) => Enumerable.Range(0, D).Sum(d => z[(a * D) + d] * z[(b * D) + d]);
        return Enumerable.Range(0, rows).Average(i =>
        {
            var positive = Math.Exp(Similarity(i, (i + (rows / 2)) % rows) / temperature);
            var all = Enumerable.Range(0, rows).Where(k => k != i).Sum(k => Math.Exp(Similarity(i, k) / temperature));
            return -Math.Log(positive / all);
        });
    }

    private static RankShare OneRank() => new(new SingleRank(1), [N]);

    private static Tensor Rows(double[] values) => tensor(values, dtype: ScalarType.Float64).view(values.Length / D, D);

    private static double[] Random(int count, int seed)
    {
        var random = new Random(seed);
        return Enumerable.Range(0, count).Select(_ => (random.NextDouble() * 2) - 1).ToArray();
    }

    private static double[] Unit(double[] z, int rows)
    {
        var unit = (double[])z.Clone();
        for (var r = 0; r < rows; r++)
        {
            var norm = Math.Sqrt(Enumerable.Range(0, D).Sum(d => z[(r * D) + d] * z[(r * D) + d]));
            for (var d = 0; d < D; d++)
                unit[(r * D) + d] /= norm;
        }

        return unit;
    }
}

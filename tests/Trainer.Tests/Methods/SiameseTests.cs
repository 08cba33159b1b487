using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class SiameseTests
{
    private const int N = 5, D = 3;

    [Theory]
    [InlineData(false, 0.2)]
    [InlineData(true, 0.2)]
    [InlineData(false, 2.0)]
    public void Triplet_RandomEmbeddings_EqualsTheSumWrittenOut(bool hardest, double margin)
    {
        using var scope = NewDisposeScope();
        var z = Rows.Unit(Rows.Random(2 * N, D, 1));
        double Distance(int a, int b) => z[a].Zip(z[b], (x, y) => (x - y) * (x - y)).Sum();
        var expected = Enumerable.Range(0, 2 * N).Average(a =>
        {
            var positive = Distance(a, (a + N) % (2 * N));
            double[] negatives = [.. Enumerable.Range(0, 2 * N).Where(i => i % N != a % N).Select(i => Distance(a, i)).Order()];
            var negative = hardest ? negatives[0] : negatives.Where(d => d > positive).DefaultIfEmpty(negatives[^1]).First();
            return Math.Max(0, positive - negative + margin);
        });
        var t = Rows.Tensor(z);
        Triplet.Objective(t, t, Rows.OneRank(N), margin, hardest).item<double>().ShouldBe(expected, 1e-12);
    }

    [Fact]
    public void Triplet_AllEmbeddingsEqual_IsTheMargin()
    {
        using var scope = NewDisposeScope();
        var same = ones([2 * N, 4], dtype: ScalarType.Float64) / 2;
        Triplet.Objective(same, same, Rows.OneRank(N), 0.2, hardest: false).item<double>().ShouldBe(0.2, 1e-12);
    }

    [Fact]
    public void Triplet_Gradient_EqualsFiniteDifferences() => Rows.ShouldHaveGradientOfDifferences(z =>
    {
        var unit = nn.functional.normalize(z, dim: 1);
        return Triplet.Objective(unit, unit, Rows.OneRank(N), 0.7, hardest: false);
    }, Rows.Random(2 * N, D, 2));

    [Fact]
    public void ContrastiveMargin_RandomEmbeddings_EqualsTheSumWrittenOutAndDoesNotMindShifts()
    {
        using var scope = NewDisposeScope();
        var (z1, z2) = (Rows.Random(N, D, 3), Rows.Random(N, D, 4));
        double same = 0, others = 0;
        for (var i = 0; i < N; i++)
        {
            for (var j = 0; j < N; j++)
            {
                var d = Math.Sqrt(z1[i].Zip(z2[j], (x, y) => (x - y) * (x - y)).Sum());
                if (i == j)
                    same += d * d / 2 / N;
                else
                    others += Math.Pow(Math.Max(0, 1.2 - d), 2) / 2 / (N * (N - 1));
            }
        }

        var (t1, t2) = (Rows.Tensor(z1), Rows.Tensor(z2));
        ContrastiveMargin.Objective(t1, t2, Rows.OneRank(N), 1.2).item<double>().ShouldBe(same + others, 1e-10);
        ContrastiveMargin.Objective(t1 + 5, t2 + 5, Rows.OneRank(N), 1.2).item<double>().ShouldBe(same + others, 1e-10);
    }

    [Fact]
    public void ContrastiveMargin_Gradient_EqualsFiniteDifferences()
    {
        using var scope = NewDisposeScope();
        var z2 = Rows.Tensor(Rows.Random(N, D, 5));
        Rows.ShouldHaveGradientOfDifferences(z1 => ContrastiveMargin.Objective(z1, z2, Rows.OneRank(N), 1.5), Rows.Random(N, D, 6));
    }
}

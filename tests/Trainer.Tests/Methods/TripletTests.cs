using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class TripletTests
{
    private const int N = 5, D = 3;

    [Theory]
    [InlineData(false, 0.2)]
    [InlineData(true, 0.2)]
    [InlineData(false, 2.0)]
    public void Objective_RandomEmbeddings_EqualsTheSumWrittenOut(bool hardest, double margin)
    {
        using var scope = NewDisposeScope();
        var z = Rows.Unit(Rows.Random(2 * N, D, 1));
        var t = Rows.Tensor(z);
        Triplet.Objective(t, t, Rows.OneRank(N), margin, hardest).item<double>().ShouldBe(Twin(z, margin, hardest), 1e-12);
    }

    [Fact]
    public void Objective_AllEmbeddingsEqual_IsTheMargin()
    {
        using var scope = NewDisposeScope();
        var same = ones([2 * N, 4], dtype: ScalarType.Float64) / 2;
        Triplet.Objective(same, same, Rows.OneRank(N), 0.2, hardest: false).item<double>().ShouldBe(0.2, 1e-12);
    }

    [Fact]
    public void Objective_Gradient_EqualsFiniteDifferences() => Rows.ShouldHaveGradientOfDifferences(z =>
    {
        var unit = nn.functional.normalize(z, dim: 1);
        return Triplet.Objective(unit, unit, Rows.OneRank(N), 0.7, hardest: false);
    }, Rows.Random(2 * N, D, 2));

    [Theory]
    [InlineData(0.2)]
    [InlineData(2.0)]
    public void Objective_NearPairsInFloat32_IsThatOfFloat64(double margin)
    {
        using var scope = NewDisposeScope();
        var first = Rows.Tensor(Rows.Unit(Rows.Random(N, 128, 3)));
        var z = nn.functional.normalize(cat([first, first + (1e-3 * Rows.Tensor(Rows.Random(N, 128, 4)))]), dim: 1).to(ScalarType.Float32);
        var (loss, gradient) = Of(ScalarType.Float32);
        var (expectedLoss, expected) = Of(ScalarType.Float64);
        loss.ShouldBe(expectedLoss, 1e-6);
        (gradient - expected).norm().item<double>().ShouldBeLessThan(1e-6 * expected.norm().item<double>() + 1e-7);

        (double Loss, Tensor Gradient) Of(ScalarType type)
        {
            var at = z.to(type).detach().clone().requires_grad_();
            var value = Triplet.Objective(at, at, Rows.OneRank(N), margin, hardest: false);
            value.backward();
            return (value.to(ScalarType.Float64).item<double>(), at.grad!.to(ScalarType.Float64));
        }
    }

    [Fact]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs() => WholeLoss.ShouldBe(
        "triplet", updates: 1, _ => 0, (n, _) => Twin(n.Unit(n.BothViews(), "backbone", "projector"), margin: 0.5, hardest: false));

    private static double Twin(double[][] z, double margin, bool hardest)
    {
        var n = z.Length / 2;
        double Distance(int a, int b) => Rows.SquaredDistance(z[a], z[b]);
        return Enumerable.Range(0, z.Length).Average(a =>
        {
            var positive = Distance(a, (a + n) % z.Length);
            double[] negatives = [.. Enumerable.Range(0, z.Length).Where(i => i % n != a % n).Select(i => Distance(a, i)).Order()];
            var negative = hardest ? negatives[0] : negatives.Where(d => d > positive).DefaultIfEmpty(negatives[^1]).First();
            return Math.Max(0, positive - negative + margin);
        });
    }
}

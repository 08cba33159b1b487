using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class MoCoV3Tests
{
    private const int N = 4, D = 5;

    [Fact]
    public void Contrast_RandomRows_IsTheMeanOfBothDirectionsTimesTwiceTheTemperature()
    {
        using var scope = NewDisposeScope();
        var (q, k) = (Rows.Unit(Rows.Random(N, D, 7)), Rows.Unit(Rows.Random(N, D, 8)));
        const double Temperature = 0.3;
        var expected = 2 * Temperature * Enumerable.Range(0, N).Average(i =>
            -Math.Log(Math.Exp(Rows.Dot(q[i], k[i]) / Temperature) / k.Sum(other => Math.Exp(Rows.Dot(q[i], other) / Temperature))));
        MoCoV3.Contrast(Rows.Tensor(q), Rows.Tensor(k), Rows.OneRank(N), Temperature).item<double>().ShouldBe(expected, 1e-12);
    }

    /// <summary>The default τ is 1, so both directions count twice.</summary>
    [Fact]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs() => WholeLoss.ShouldBe(
        "moco_v3", updates: 2,
        n => (First: n.Unit(n.View(0), "key_backbone", "key_projector"), Second: n.Unit(n.View(1), "key_backbone", "key_projector")),
        (n, keys) =>
        {
            double Contrast(double[][] q, double[][] k) => Enumerable.Range(0, q.Length).Average(i => Rows.Surprise(k.Select(key => Rows.Dot(q[i], key)), i));
            var (first, second) = (n.Unit(n.View(0), "backbone", "projector", "predictor"), n.Unit(n.View(1), "backbone", "projector", "predictor"));
            return 2 * (Contrast(first, keys.Second) + Contrast(second, keys.First));
        });
}

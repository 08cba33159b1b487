using System.Globalization;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Interop;

/// <summary>Every method's loss, and its gradient in everything it depends on, is what PyTorch computes from the paper's formulas.</summary>
[Collection(TorchCollection.Name)]
public sealed class LossPeerTests
{
    private const int N = 8, D = 5;
    private static readonly RankShare Share = Methods.Rows.OneRank(N);

    [Fact]
    public void BarlowTwins_LossAndGradients_EqualThePeers() => Check("barlow-twins", [("z1", [N, D]), ("z2", [N, D])], [("lambda", 0.02)], t =>
    {
        var standardize = new Normalization(TorchStack.Current, null).Layer(D, shift: false, scale: false).to(ScalarType.Float64);
        return BarlowTwins.Objective(BarlowTwins.CrossCorrelation(standardize.call(t["z1"]), standardize.call(t["z2"]), Share), 0.02);
    });

    [Fact]
    public void VicReg_LossAndGradients_EqualThePeers() => Check(
        "vicreg", [("z1", [N, D]), ("z2", [N, D])], [("invariance", 25), ("variance", 20), ("covariance", 3)],
        t => VicReg.Objective(t["z1"], t["z2"], Share, new VicRegOptions { Invariance = 25, Variance = 20, Covariance = 3 }));

    [Fact]
    public void Byol_LossAndGradients_EqualThePeers() => Check(
        "byol", [("p1", [N, D]), ("p2", [N, D]), ("t1", [N, D]), ("t2", [N, D])], [],
        t => (Byol.Regression(t["p1"], t["t2"].detach()) + Byol.Regression(t["p2"], t["t1"].detach())).mean());

    [Fact]
    public void SimSiam_LossAndGradients_EqualThePeers() => Check(
        "simsiam", [("p1", [N, D]), ("p2", [N, D]), ("z1", [N, D]), ("z2", [N, D])], [],
        t => ((SimSiam.D(t["p1"], t["z2"]) + SimSiam.D(t["p2"], t["z1"])) / 2).mean());

    private static void Check(string loss, (string Name, long[] Shape)[] tensors, (string Name, double Value)[] numbers, Func<Dictionary<string, Tensor>, Tensor> ours)
    {
        using var scope = NewDisposeScope();
        manual_seed(6);
        var given = tensors.ToDictionary(t => t.Name, t => randn(t.Shape, dtype: ScalarType.Float64).requires_grad_());
        var peer = Peer.Ask(
            "loss", given.Select(t => (t.Key, t.Value)),
            [("loss", loss), .. numbers.Select(n => (n.Name, n.Value.ToString("R", CultureInfo.InvariantCulture)))]);
        var value = ours(given);
        value.backward();
        value.item<double>().ShouldBe(peer["loss"].item<double>(), 1e-11);
        foreach (var (name, tensor) in given)
        {
            (tensor.grad is not null).ShouldBe(peer.ContainsKey("grad." + name), name);
            if (tensor.grad is { } gradient)
                (gradient - peer["grad." + name]).abs().max().item<double>().ShouldBeLessThan(1e-11, name);
        }
    }
}

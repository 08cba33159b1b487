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
    public void SimClr_LossAndGradients_EqualThePeers() => Check("simclr", [("first", [N, D]), ("second", [N, D])], [("temperature", 0.3)], t =>
    {
        var z = Unit(cat([t["first"], t["second"]]));
        return SimClr.NtXent(z, z, Share, 0.3);
    });

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

    [Fact]
    public void MoCo_LossAndGradients_EqualThePeers() => Check(
        "moco", [("q", [N, D]), ("k", [N, D]), ("queue", [3 * N, D])], [("temperature", 0.2)],
        t => MoCo.InfoNce(Unit(t["q"]), Unit(t["k"].detach()), Unit(t["queue"].detach()), 0.2).mean());

    [Fact]
    public void MoCoV3_LossAndGradients_EqualThePeers() => Check(
        "moco-v3", [("q1", [N, D]), ("q2", [N, D]), ("k1", [N, D]), ("k2", [N, D])], [("temperature", 0.3)],
        t => MoCoV3.Contrast(Unit(t["q1"]), Unit(t["k2"].detach()), Share, 0.3) + MoCoV3.Contrast(Unit(t["q2"]), Unit(t["k1"].detach()), Share, 0.3));

    [Fact]
    public void SwAv_LossAndGradients_EqualThePeers() => Check(
        "swav", [("z1", [N, D]), ("z2", [N, D]), ("prototypes", [6, D])], [("temperature", 0.1), ("epsilon", 0.05), ("iterations", 3)], t =>
        {
            var c = Unit(t["prototypes"]);
            Tensor[] scores = [Unit(t["z1"]).matmul(c.t()), Unit(t["z2"]).matmul(c.t())];
            Tensor[] codes = [.. scores.Select(s => Sinkhorn.Assign(s, 0.05, 3, Share.Ranks))];
            return (SwAv.CrossEntropy(codes[0], scores[1] / 0.1) + SwAv.CrossEntropy(codes[1], scores[0] / 0.1)).mean() / 2;
        });

    [Fact]
    public void Dino_LossAndGradients_EqualThePeers() => Check(
        "dino", [("s1", [N, D]), ("s2", [N, D]), ("t1", [N, D]), ("t2", [N, D]), ("centre", [D])], [("student_temperature", 0.1), ("teacher_temperature", 0.05)], t =>
        {
            Tensor Teacher(string view) => Dino.Distribution(t[view].detach(), t["centre"].detach(), 0.05);
            return (SwAv.CrossEntropy(Teacher("t1"), t["s2"] / 0.1) + SwAv.CrossEntropy(Teacher("t2"), t["s1"] / 0.1)).mean() / 2;
        });

    [Theory]
    [InlineData(0.2)]
    [InlineData(1.5)]
    public void Triplet_LossAndGradients_EqualThePeers(double margin) => Check("triplet", [("first", [N, D]), ("second", [N, D])], [("margin", margin)], t =>
    {
        var z = Unit(cat([t["first"], t["second"]]));
        return Triplet.Objective(z, z, Share, margin, hardest: false);
    });

    [Fact]
    public void ContrastiveMargin_LossAndGradients_EqualThePeers() => Check(
        "contrastive-margin", [("z1", [N, D]), ("z2", [N, D])], [("margin", 2.5)], t => ContrastiveMargin.Objective(t["z1"], t["z2"], Share, 2.5));

    [Fact]
    public void PirlNce_LossAndGradients_EqualThePeers() => Check(
        "pirl", [("patches", [N, D]), ("image", [N, D]), ("own", [N, D]), ("memory", [3 * N, D])], [("temperature", 0.3), ("z", 77)],
        t => Pirls(t, (e, own, memory, same) => Pirl.Nce(e, own, memory, same, 0.3, 77, images: 6 * N)));

    [Fact]
    public void PirlInfoNce_LossAndGradients_EqualThePeers() => Check(
        "pirl-info-nce", [("patches", [N, D]), ("image", [N, D]), ("own", [N, D]), ("memory", [3 * N, D])], [("temperature", 0.1)],
        t => Pirls(t, (e, own, memory, same) => Pirl.InfoNce(e, own, memory, same, 0.1)));

    [Fact]
    public void DeepCluster_LossAndGradients_EqualThePeers() => Check("deepcluster-v2", [("z", [N, D]), ("prototypes", [6, D])], [("temperature", 0.1)], t =>
    {
        var target = tensor([.. Enumerable.Range(0, N).Select(i => i % 3 == 0 ? -1L : i % 6)]);
        return DeepClusterV2.CrossEntropy(Unit(t["z"]), Unit(t["prototypes"].detach()), target, 0.1) / N;
    });

    private static Tensor Pirls(Dictionary<string, Tensor> t, Func<Tensor, Tensor, Tensor, Tensor, Tensor> loss)
    {
        var (own, memory, none) = (Unit(t["own"].detach()), Unit(t["memory"].detach()), zeros([N, 3 * N], dtype: ScalarType.Bool));
        return (loss(Unit(t["patches"]), own, memory, none) + loss(Unit(t["image"]), own, memory, none)) / (2 * N);
    }

    private static Tensor Unit(Tensor z) => nn.functional.normalize(z, dim: 1);

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

using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class MoCoTests
{
    private const int N = 4, D = 5, K = 6;
    private const int Images = SmallMethods.Images;

    [Fact]
    public void InfoNce_RandomRows_EqualsTheSumWrittenOut()
    {
        using var scope = NewDisposeScope();
        var (q, k, queue) = (Rows.Unit(Rows.Random(N, D, 1)), Rows.Unit(Rows.Random(N, D, 2)), Rows.Unit(Rows.Random(K, D, 3)));
        double[] expected = [.. q.Zip(k, (a, b) =>
        {
            var positive = Math.Exp(Rows.Dot(a, b) / 0.2);
            return -Math.Log(positive / (positive + queue.Sum(c => Math.Exp(Rows.Dot(a, c) / 0.2))));
        })];
        SmallMethods.Doubles(MoCo.InfoNce(Rows.Tensor(q), Rows.Tensor(k), Rows.Tensor(queue), 0.2)).ShouldBe(expected, 1e-12);
    }

    [Fact]
    public void InfoNce_Gradient_EqualsFiniteDifferences()
    {
        using var scope = NewDisposeScope();
        var (k, queue) = (Rows.Tensor(Rows.Random(N, D, 4)), Rows.Tensor(Rows.Random(K, D, 5)));
        Rows.ShouldHaveGradientOfDifferences(q => MoCo.InfoNce(q, k, queue, 0.5).sum(), Rows.Random(N, D, 6));
    }

    [Fact]
    public void InfoNce_AllEmbeddingsEqual_IsTheLogarithmOfTheCandidates()
    {
        using var scope = NewDisposeScope();
        Tensor Same(int rows) => ones([rows, D], dtype: ScalarType.Float64) / Math.Sqrt(D);
        SmallMethods.Doubles(MoCo.InfoNce(Same(1), Same(1), Same(4096), 0.2)).ShouldBe([Math.Log(4097)], 1e-10);
    }

    /// <summary>Two batches fill this queue: after three updates, the third batch lies where the first lay, and the second is untouched.</summary>
    [Fact]
    public void Queue_AfterEachUpdate_HoldsTheNewestKeysInThePlaceOfTheOldest()
    {
        double[] After(int steps) => ThreadRanks.Run(1, ranks => SmallMethods.Train("moco", ranks, [Images], ScalarType.Float64, steps))[0].State["queue.keys"];
        using var scope = NewDisposeScope();
        using var method = SmallMethods.Create("moco", new SingleRank(1), [Images], ScalarType.Float64);
        var start = SmallMethods.Doubles(method.Network.get_buffer("queue.keys")!);
        var (one, two) = (After(1), After(2));
        var half = one.Length / 2;
        one[half..].ShouldBe(start[half..]);
        one[..half].ShouldNotBe(start[..half]);
        two[half..].ShouldNotBe(one[half..]);
        foreach (var key in two.Chunk(10))
            Rows.Dot(key, key).ShouldBe(1, 1e-9);
    }

    [Fact]
    public void Loss_BeforeTheUpdate_LeavesTheQueueAlone()
    {
        using var scope = NewDisposeScope();
        using var method = SmallMethods.Create("moco", new SingleRank(1), [Images], ScalarType.Float64);
        var queue = method.Network.get_buffer("queue.keys")!;
        var before = SmallMethods.Doubles(queue);
        var views = SmallMethods.Views("moco", 0, [Images], ScalarType.Float64, 0);
        var loss = method.Loss(views).Value.item<double>();
        SmallMethods.Doubles(queue).ShouldBe(before);
        method.Loss(views).Value.item<double>().ShouldBe(loss, 1e-12, "a repeated step is what it was");
    }

    [Fact]
    public void Create_QueueOrGroupsThatDoNotFitTheBatch_IsRefusedWithTheReason()
    {
        MethodSetup Setup() => new(new ResNetOptions { Width = 8 }, new Normalization(TorchStack.Current, null), Rows.OneRank(12), [16, 16]);
        Should.Throw<ArgumentException>(() => new MoCoOptions { Queue = 100 }.Create(Setup())).Message.ShouldContain("method.queue: 100 is not a multiple of the global batch, 12");
        Should.Throw<ArgumentException>(() => new MoCoOptions { Queue = 120, ShuffleGroups = 8 }.Create(Setup())).Message.ShouldContain("a group needs 2");
    }

    [Fact]
    public void Contrast_OfV3_IsTheMeanOfBothDirectionsTimesTwiceTheTemperature()
    {
        using var scope = NewDisposeScope();
        var (q, k) = (Rows.Unit(Rows.Random(N, D, 7)), Rows.Unit(Rows.Random(N, D, 8)));
        const double Temperature = 0.3;
        var expected = 2 * Temperature * Enumerable.Range(0, N).Average(i =>
            -Math.Log(Math.Exp(Rows.Dot(q[i], k[i]) / Temperature) / k.Sum(other => Math.Exp(Rows.Dot(q[i], other) / Temperature))));
        MoCoV3.Contrast(Rows.Tensor(q), Rows.Tensor(k), Rows.OneRank(N), Temperature).item<double>().ShouldBe(expected, 1e-12);
    }
}

using DarkMatter.Data;
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

    /// <summary>After three updates no random direction is left in the queue, and the key encoder is behind the query's.</summary>
    [Theory]
    [InlineData("moco", 5, 0.2)]
    [InlineData("moco without shuffle", 0, 0.2)]
    [InlineData("moco v1", 4, 0.07)]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs(string setting, int groups, double temperature) => WholeLoss.ShouldBe(
        setting, updates: 3,
        n => (Keys: GroupedKeys(n, groups), Queue: Rows.Of(n.Kept("queue.keys"))),
        (n, held) =>
        {
            var q = n.Unit(n.View(0), "backbone", "projector");
            return Enumerable.Range(0, Images).Average(i => Rows.Surprise(held.Queue.Prepend(held.Keys[i]).Select(k => Rows.Dot(q[i], k) / temperature), 0));
        });

    /// <summary>He et al. 2019, section 4: one layer on top of the features, 128 wide, τ 0.07.</summary>
    [Fact]
    public void Projector_OfVersionOne_IsOneLinearLayer()
    {
        using var method = SmallMethods.Create("moco v1", new SingleRank(1), [Images], ScalarType.Float32);
        string[] head = [.. method.Network.named_parameters().Select(p => p.name).Where(name => name.StartsWith("projector.", StringComparison.Ordinal))];
        head.ShouldBe(["projector.0.weight", "projector.0.bias"]);
        method.Network.get_parameter("projector.0.weight")!.shape.ShouldBe([10, method.Backbone.Features]);
    }

    /// <summary>One group is the whole batch: whatever the order in which it is normalised, each image must get its own key back.</summary>
    [Fact]
    public void Training_ShuffledInOneGroup_IsThatWithoutShuffle()
    {
        SmallMethods.Outcome Train(int groups) => SmallMethods.Train(
            (MoCoOptions)SmallMethods.All["moco"].Options with { ShuffleGroups = groups }, SmallMethods.All["moco"].ViewSizes, new SingleRank(1), [Images], ScalarType.Float64, steps: 4);
        var (shuffled, plain) = (Train(1), Train(0));
        shuffled.Losses.ShouldBe(plain.Losses, 1e-9);
        foreach (var (name, expected) in plain.State.Where(s => !s.Key.Contains("running_", StringComparison.Ordinal)))    // evaluation's: with groups, the key encoder takes the query's
            shuffled.State[name].Zip(expected, (a, b) => Math.Abs(a - b)).Max().ShouldBeLessThan(1e-7, name);
    }

    [Theory]
    [InlineData("moco", 5)]
    [InlineData("moco v1", 4)]
    public void Queue_OfGroups_HoldsInBatchOrderTheKeysOfEachGroupsOwnStatistics(string setting, int groups) =>
        SmallMethods.Train(setting, new SingleRank(1), [Images], ScalarType.Float64, steps: 2, method =>
        {
            var views = SmallMethods.Views(setting, 0, [Images], ScalarType.Float64, step: 2);
            var networks = new Networks(method, views, updates: 2);
            var (expected, plain) = (GroupedKeys(networks, groups), GroupedKeys(networks, groups: 0));
            method.Loss(views);
            method.AfterUpdate(3, 10);
            var newest = Rows.Of(networks.Kept("queue.keys"))[..Images];
            foreach (var (image, key) in newest.Index())
            {
                Rows.SquaredDistance(key, expected[image]).ShouldBeLessThan(1e-18, $"image {image}");
                Rows.SquaredDistance(key, plain[image]).ShouldBeGreaterThan(1e-6, $"image {image}: the group's statistics are others than the batch's");
            }
        });

    /// <summary>The same images, twice through an encoder that stands still: with groups only the company can have changed.</summary>
    [Theory]
    [InlineData(5, true)]
    [InlineData(0, false)]
    public void Queue_OfTheSameBatchAtTwoUpdates_DiffersWhereGroupsAreDealtAnew(int groups, bool differs)
    {
        using var scope = NewDisposeScope();
        var (options, sizes) = SmallMethods.All["moco"];
        using var method = SmallMethods.Create(
            (MoCoOptions)options with { ShuffleGroups = groups, Momentum = 1 }, sizes, SmallMethods.ShareOf(new SingleRank(1), [Images]), ScalarType.Float64);
        var views = SmallMethods.Views("moco", 0, [Images], ScalarType.Float64, step: 0);
        for (var step = 1; step <= 2; step++)
        {
            method.Loss(views);
            method.AfterUpdate(step, 10);
        }

        var keys = method.Network.get_buffer("queue.keys")!;
        var difference = (keys.narrow(0, 0, Images) - keys.narrow(0, Images, Images)).abs().max().item<double>();
        (difference > 1e-3).ShouldBe(differs, $"{difference}");
        if (!differs)
            difference.ShouldBeLessThan(1e-12);
    }

    /// <summary>The keys of view 2: group g has the images g·N/G … (g + 1)·N/G − 1 of the step's permutation; 0 groups: all together.</summary>
    private static double[][] GroupedKeys(Networks n, int groups)
    {
        if (groups == 0)
            return n.Unit(n.View(1), "key_backbone", "key_projector");
        var order = new Feistel(new KeyedRandom(0).With(n.Updates).Key, Images);
        var keys = new double[Images][];
        for (var g = 0; g < groups; g++)
        {
            long[] images = [.. Enumerable.Range(0, Images).Where(i => i >= g * Images / groups && i < (g + 1) * Images / groups).Select(i => order[i])];
            var own = n.Unit(n.View(1).index_select(0, tensor(images)), "key_backbone", "key_projector");
            foreach (var (image, key) in images.Zip(own))
                keys[image] = key;
        }

        return keys;
    }
}

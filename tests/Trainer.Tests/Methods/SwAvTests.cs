using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class SwAvTests
{
    private const int M = 9, K = 4;

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(10)]
    public void Sinkhorn_RandomScores_EqualsTheIterationWrittenOut(int iterations)
    {
        using var scope = NewDisposeScope();
        var scores = Rows.Random(M, K, 1);
        var codes = SmallMethods.Doubles(Sinkhorn.Assign(Rows.Tensor(scores), 0.1, iterations, new SingleRank(1)));
        codes.ShouldBe([.. Twin(scores, 0.1, iterations).SelectMany(row => row)], 1e-12);
    }

    /// <summary>At ε = 0.01 e^(1/ε) is more than a float32 holds.</summary>
    [Fact]
    public void Sinkhorn_SmallEpsilonInFloat32_StaysFinite()
    {
        using var scope = NewDisposeScope();
        var scores = Rows.Tensor(Rows.Unit(Rows.Random(20, 6, 3))).matmul(Rows.Tensor(Rows.Unit(Rows.Random(8, 6, 4))).t());
        var exact = Sinkhorn.Assign(scores, 0.01, 3, new SingleRank(1));
        var single = Sinkhorn.Assign(scores.to(ScalarType.Float32), 0.01, 3, new SingleRank(1));
        (single.to(ScalarType.Float64) - exact).abs().max().item<double>().ShouldBeLessThan(1e-4);
    }

    [Fact]
    public void Sinkhorn_ManyIterations_SpreadsSamplesEvenlyInWhateverOrderThePrototypesAre()
    {
        using var scope = NewDisposeScope();
        var scores = Rows.Tensor(Rows.Random(M, K, 2));
        var codes = Sinkhorn.Assign(scores, 0.2, 100, new SingleRank(1));
        SmallMethods.Doubles(codes.sum(1)).ShouldBe(Enumerable.Repeat(1.0, M), 1e-12);
        SmallMethods.Doubles(codes.sum([0])).ShouldBe(Enumerable.Repeat((double)M / K, K), 1e-9);
        var order = tensor(new long[] { 2, 0, 3, 1 });
        (Sinkhorn.Assign(scores.index_select(1, order), 0.2, 100, new SingleRank(1)) - codes.index_select(1, order)).abs().max().item<double>().ShouldBeLessThan(1e-12);
    }

    [Theory]
    [InlineData(4, 5)]
    [InlineData(1, 8)]
    [InlineData(2, 3, 4)]
    public void Sinkhorn_SamplesOverRanks_GivesTheCodesOfOneRank(params int[] counts)
    {
        var scores = Rows.Random(M, K, 3);
        var parts = ThreadRanks.Run(counts.Length, ranks =>
        {
            using var scope = NewDisposeScope();
            var first = counts.Take(ranks.Rank).Sum();
            return SmallMethods.Doubles(Sinkhorn.Assign(Rows.Tensor(scores[first..(first + counts[ranks.Rank])]), 0.05, 3, ranks));
        });
        parts.SelectMany(p => p).ToArray().ShouldBe([.. Twin(scores, 0.05, 3).SelectMany(row => row)], 1e-12);
    }

    /// <summary>With a queue: from the second update on it fills, so after three codes are made with it.</summary>
    [Theory]
    [InlineData("swav", 2, 2)]
    [InlineData("swav with queue and small crops", 3, 4)]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs(string setting, int updates, int views)
    {
        const int N = Networks.Images;
        double[][][] Scores(Networks n)                                       // V × [N, K]
        {
            var (z, c) = (Rows.Unit(Rows.Of(n.Through(n.Features(), "projector"))), Rows.Of(n.Kept("prototypes.weight")));
            return [.. z.Select(row => c.Select(prototype => Rows.Dot(row, prototype)).ToArray()).Chunk(N)];
        }

        WholeLoss.ShouldBe(
            setting, updates,
            n => Scores(n)[..2].Index().Select(crop =>
            {
                double[][] remembered = [.. Remembered(n, crop.Index).Select(row => Rows.Of(n.Kept("prototypes.weight")).Select(c => Rows.Dot(row, c)).ToArray())];
                return Twin([.. crop.Item, .. remembered], 0.05, 3)[..N];
            }).ToArray(),
            (n, codes) =>
            {
                var scores = Scores(n);
                var swapped = from a in Enumerable.Range(0, 2)
                              from v in Enumerable.Range(0, views)
                              where v != a
                              from i in Enumerable.Range(0, N)
                              select Rows.CrossEntropy(codes[a][i], Rows.Softmax(scores[v][i].Select(s => s / 0.1)));
                return swapped.Sum() / (2 * (views - 1) * N);
            });

        double[][] Remembered(Networks n, int crop)
        {
            if (views == 2)
                return [];
            var queue = Rows.Of(n.Kept("queue.embeddings").select(0, crop));
            queue.ShouldAllBe(row => Math.Abs(Rows.Dot(row, row) - 1) < 1e-9, "it is full");
            return queue;
        }
    }

    [Fact]
    public void Prototypes_FrozenThenTrained_StandStillThenMoveAsUnitVectors()
    {
        SmallMethods.Outcome Train(int steps) => ThreadRanks.Run(1, ranks => SmallMethods.Train("swav", ranks, [SmallMethods.Images], ScalarType.Float64, steps))[0];
        using var scope = NewDisposeScope();
        using var method = SmallMethods.Create("swav", new SingleRank(1), [SmallMethods.Images], ScalarType.Float64);
        method.UpdateOf("prototypes.weight", 0).ShouldBe(ParameterUpdate.Frozen);
        method.UpdateOf("prototypes.weight", 1).ShouldBe(ParameterUpdate.Scheduled);
        var start = SmallMethods.Doubles(method.Network.get_parameter("prototypes.weight")!);
        var (frozen, moved) = (Train(1).State, Train(2).State);
        frozen["prototypes.weight"].ShouldBe(start, 1e-7, "the first update leaves them");
        frozen["momentum.prototypes.weight"].ShouldAllBe(v => v == 0);
        moved["prototypes.weight"].Zip(start, (a, b) => Math.Abs(a - b)).Max().ShouldBeGreaterThan(1e-4);
        foreach (var row in moved["prototypes.weight"].Chunk(10))
            Rows.Dot(row, row).ShouldBe(1, 1e-12);
    }

    [Fact]
    public void Queue_OfAnOddLengthOrMoreCodesThanViews_IsRefusedWithTheReason()
    {
        MethodSetup Setup() => new(new ResNetOptions { Width = 8 }, new Normalization(TorchStack.Current, null), Rows.OneRank(12), [16, 16]);
        Should.Throw<ArgumentException>(() => new SwAvOptions { Queue = 30 }.Create(Setup())).Message.ShouldContain("method.queue: 30 is not a multiple of the global batch, 12");
        Should.Throw<ArgumentException>(() => new SwAvOptions { CodeViews = 3 }.Create(Setup())).Message.ShouldContain("codes of 3 views, but an image has 2");
        Should.Throw<ArgumentException>(() => new SwAvOptions { Epsilon = 0.001 }.Create(Setup())).Message.ShouldContain("method.epsilon");
    }

    /// <summary>exp(s/ε), then rows of prototypes to 1/K and columns of samples to 1/M of the mass, in turn.</summary>
    private static double[][] Twin(double[][] scores, double epsilon, int iterations)
    {
        var (m, k) = (scores.Length, scores[0].Length);
        double[][] q = [.. scores.Select(row => row.Select(s => Math.Exp(s / epsilon)).ToArray())];
        var total = q.Sum(row => row.Sum());
        for (var round = 0; round < iterations; round++)
        {
            for (var j = 0; j < k; j++)
            {
                var mass = q.Sum(row => row[j] / (round == 0 ? total : 1));
                for (var i = 0; i < m; i++)
                    q[i][j] /= (round == 0 ? total : 1) * mass * k;
            }

            for (var i = 0; i < m; i++)
            {
                var mass = q[i].Sum();
                for (var j = 0; j < k; j++)
                    q[i][j] /= mass * m;
            }
        }

        return [.. q.Select(row => row.Select(v => v * m).ToArray())];
    }
}

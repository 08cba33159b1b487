using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using DarkMatter.Trainer.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

/// <summary>Invariant 7: W ranks on a global batch compute the loss and every parameter's gradient of one rank on that batch.</summary>
[Collection(TorchCollection.Name)]
public sealed class GradientRuleTests
{
    private const int Images = 12, Size = 16;
    private static readonly Lock Generator = new();
    private static readonly ResNetOptions Model = new() { Width = 8, Stem = ResNetStem.Small };
    private static readonly SimClrOptions Method = new() { Temperature = 0.2, ProjectorHidden = 24, ProjectorOutput = 16 };

    [Theory]
    [InlineData(ScalarType.Float64, 1e-10, 12)]
    [InlineData(ScalarType.Float64, 1e-10, 6, 6)]
    [InlineData(ScalarType.Float64, 1e-10, 5, 4, 3)]
    [InlineData(ScalarType.Float64, 1e-10, 4, 4, 2, 2)]
    [InlineData(ScalarType.Float64, 1e-10, 1, 11)]
    [InlineData(ScalarType.Float32, 1e-5, 6, 6)]
    [InlineData(ScalarType.Float32, 1e-5, 5, 4, 3)]
    [InlineData(ScalarType.Float32, 1e-5, 4, 4, 2, 2)]
    public void SimClr_SplitOverRanks_HasTheLossAndGradientsOfOneRank(ScalarType type, double tolerance, params int[] counts)
    {
        var images = Batch();
        var (expectedLoss, expected) = ThreadRanks.Run(1, ranks => Step(ranks, images, [Images], type))[0];
        var parts = ThreadRanks.Run(counts.Length, ranks => Step(ranks, images, counts, type));

        parts[0].Loss.ShouldBe(expectedLoss, Math.Abs(expectedLoss) * tolerance);
        var largest = expected.Values.Max(Norm);
        foreach (var (rank, (loss, gradients)) in parts.Index())
        {
            loss.ShouldBe(parts[0].Loss, $"rank {rank} has the sum that rank 0 has");
            foreach (var (name, gradient) in gradients)
            {
                var difference = Norm(gradient.Zip(expected[name], (a, b) => a - b).ToArray());
                (difference / Math.Max(Norm(expected[name]), 1e-3 * largest)).ShouldBeLessThanOrEqualTo(tolerance, $"rank {rank}, {name}");
            }
        }
    }

    [Fact]
    public void SimClr_WithoutSyncBatchNorm_DiffersFromOneRank()
    {
        var images = Batch();
        var (_, expected) = ThreadRanks.Run(1, ranks => Step(ranks, images, [Images], ScalarType.Float64))[0];
        var parts = ThreadRanks.Run(2, ranks => Step(ranks, images, [6, 6], ScalarType.Float64, sync: false));
        var name = "backbone.conv1.weight";
        var difference = Norm(parts[0].Gradients[name].Zip(expected[name], (a, b) => a - b).ToArray());
        (difference / Norm(expected[name])).ShouldBeGreaterThan(1e-3, "the test above can see a difference");
    }

    [Fact]
    public void SimClr_OneImageInAll_IsRefused() =>
        Should.Throw<ArgumentException>(() => Create(new SingleRank(1), [1], ScalarType.Float32, sync: false))
            .Message.ShouldContain("at least 2 images in the global batch");

    [Fact]
    public void Energy_SameViewTwice_IsZeroAndLowerThanForOtherImages()
    {
        using var scope = NewDisposeScope();
        using var method = Create(new SingleRank(1), [Images], ScalarType.Float32, sync: false);
        method.Network.eval();
        using var _ = no_grad();
        var x = tensor(Batch()).view(2 * Images, 3, Size, Size).to(ScalarType.Float32);
        var same = method.Energy(x, x);
        same.shape.ShouldBe([2 * Images]);
        same.abs().max().item<float>().ShouldBeLessThan(1e-5f);
        method.Energy(x, x.roll(1, 0)).min().item<float>().ShouldBeGreaterThan(0);
    }

    private static (double Loss, Dictionary<string, double[]> Gradients) Step(ICollective ranks, double[] images, int[] counts, ScalarType type, bool sync = true)
    {
        using var scope = NewDisposeScope();
        using var method = Create(ranks, counts, type, sync);
        var named = method.Network.named_parameters().ToList();
        using var buckets = new GradientBuckets([.. named.Select(p => p.parameter)], ranks, bucketBytes: 4096, extras: 1, TorchStack.Current);

        var (offset, count) = (counts.Take(ranks.Rank).Sum(), counts[ranks.Rank]);
        var x = tensor(images).view(2, Images, 3, Size, Size).narrow(1, offset, count).contiguous().view(2 * count, 3, Size, Size).to(type);
        var loss = method.Loss(x);
        buckets.Begin([loss.Value.detach().to(ScalarType.Float64).item<double>()]);
        loss.Value.backward();
        var sums = new double[1];
        buckets.Finish(sums).ShouldBeTrue();
        return (sums[0], named.Zip(buckets.Gradients, (p, g) => (p.name, g.to(ScalarType.Float64).flatten().data<double>().ToArray())).ToDictionary());
    }

    private static SimClr Create(ICollective ranks, int[] counts, ScalarType type, bool sync)
    {
        lock (Generator)
        {
            manual_seed(5);
            var method = new SimClr(Method, new MethodSetup(Model, new Normalization(TorchStack.Current, sync ? ranks : null), new RankShare(ranks, counts), [Size, Size]));
            method.Network.to(type);
            return method;
        }
    }

    private static double[] Batch()
    {
        var random = new Random(11);
        return Enumerable.Range(0, 2 * Images * 3 * Size * Size).Select(_ => (random.NextDouble() * 2) - 1).ToArray();
    }

    private static double Norm(double[] values) => Math.Sqrt(values.Sum(v => v * v));
}

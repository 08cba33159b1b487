using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Interop;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class DeepClusterV2Tests
{
    private const int M = 200, D = 6, K = 9;
    private const int Images = SmallMethods.Images;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void KMeans_OverAnyRanks_GivesThePeersClusters(int world)
    {
        using var scope = NewDisposeScope();
        var vectors = Rows.Unit(Rows.Random(M, D, 1));
        var peer = Peer.Ask("kmeans", [("vectors", Rows.Tensor(vectors)), ("start", Rows.Tensor(vectors[..K]))], ("iterations", "10"));
        foreach (var (centroids, assignments) in ThreadRanks.Run(world, ranks =>
        {
            using var inner = NewDisposeScope();
            var (first, end) = SphericalKMeans.Part(M, ranks.Rank, world);
            var (c, a) = SphericalKMeans.Cluster(Rows.Tensor(vectors[(int)first..(int)end]), M, Rows.Tensor(vectors[..K]), 10, ranks);
            return (SmallMethods.Doubles(c), a.data<long>().ToArray());
        }))
        {
            centroids.ShouldBe(SmallMethods.Doubles(peer["centroids"]), 1e-12);
            assignments.ShouldBe(peer["assignments"].data<long>().ToArray());
        }
    }

    [Fact]
    public void KMeans_EmptyRowsAndEmptyClusters_BelongNowhereAndStayWhereTheyAre()
    {
        using var scope = NewDisposeScope();
        var vectors = Rows.Tensor([[1, 0], [0, 0], [0.6, 0.8], [0.8, 0.6]]);
        var start = Rows.Tensor([[0.8, 0.6], [-1, 0]]);
        var (centroids, assignments) = SphericalKMeans.Cluster(vectors, 4, start, 3, new SingleRank(1));
        assignments.data<long>().ToArray().ShouldBe([0, -1, 0, 0]);
        SmallMethods.Doubles(centroids)[2..].ShouldBe([-1, 0], 1e-12);
        var mean = Rows.Unit([[2.4, 1.4]])[0];
        SmallMethods.Doubles(centroids)[..2].ShouldBe(mean, 1e-12);
    }

    [Fact]
    public void CrossEntropy_SomeRowsWithoutTarget_EqualsTheSumOfTheOthers()
    {
        using var scope = NewDisposeScope();
        var (z, c) = (Rows.Unit(Rows.Random(5, D, 2)), Rows.Unit(Rows.Random(K, D, 3)));
        long[] targets = [3, -1, 0, 8, -1];
        var expected = targets.Index().Where(t => t.Item >= 0).Sum(t =>
            -Math.Log(Math.Exp(Rows.Dot(z[t.Index], c[t.Item]) / 0.1) / c.Sum(other => Math.Exp(Rows.Dot(z[t.Index], other) / 0.1))));
        DeepClusterV2.CrossEntropy(Rows.Tensor(z), Rows.Tensor(c), tensor(targets), 0.1).item<double>().ShouldBe(expected, 1e-10);
        var order = tensor(new long[] { 8, 1, 2, 0, 4, 5, 6, 7, 3 });           // prototypes 0, 3 and 8 change places
        DeepClusterV2.CrossEntropy(Rows.Tensor(z), Rows.Tensor(c).index_select(0, order), tensor(new long[] { 8, -1, 3, 0, -1 }), 0.1).item<double>()
            .ShouldBe(expected, 1e-10, "the order of the prototypes does not matter");
        Rows.ShouldHaveGradientOfDifferences(x => DeepClusterV2.CrossEntropy(x, Rows.Tensor(c), tensor(targets), 0.5), z);
    }

    /// <summary>Every view, small ones too, against the cluster of its image in each set; the clusters are those that the step's loss has made.</summary>
    [Fact]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs() => WholeLoss.ShouldBe(
        "deepcluster_v2", updates: 2,
        n =>
        {
            n.Method.AfterUpdate(n.Updates + 1, totalSteps: 10);              // shows the clusters; no parameter moves
            return (Prototypes: Rows.Of(n.Kept("clusters.prototypes").view(-1, 10)).Chunk(4).ToArray(), Assignments: Rows.Of(n.Kept("clusters.assignments")));
        },
        (n, clusters) =>
        {
            var z = Rows.Unit(Rows.Of(n.Through(n.Features(), "projector")));     // [3N, D]
            var terms = from h in Enumerable.Range(0, 3)
                        from row in Enumerable.Range(0, 3 * Images)
                        select Rows.Surprise(clusters.Prototypes[h].Select(c => Rows.Dot(z[row], c) / 0.1), (int)clusters.Assignments[h][row % Images]);
            return terms.Average();
        });

    /// <summary>As the authors' pass before training does it: the memory is filled, and that is all.</summary>
    [Fact]
    public void FirstEpoch_FillsTheMemoryAndUpdatesNothing()
    {
        var outcome = ThreadRanks.Run(1, ranks => SmallMethods.Train("deepcluster_v2", ranks, [Images], ScalarType.Float64, 1))[0];
        using var method = SmallMethods.Create("deepcluster_v2", new SingleRank(1), [Images], ScalarType.Float64);
        foreach (var (name, parameter) in method.Network.named_parameters())
        {
            method.UpdateOf(name, 0).ShouldBe(ParameterUpdate.Frozen);
            method.UpdateOf(name, method.UntrainedSteps).ShouldBe(ParameterUpdate.Scheduled);
            outcome.State[name].ShouldBe(SmallMethods.Doubles(parameter), name);
        }

        outcome.Losses.ShouldBe([0]);
        foreach (var row in outcome.State["memory0.rows_0"].Chunk(10))
            Rows.Dot(row, row).ShouldBe(1, 1e-9, "every image was seen");
        outcome.State["clusters.assignments"].ShouldAllBe(a => a == -1);
    }

    [Fact]
    public void SecondEpoch_BeginsWithNewPrototypesOfWhichEachImageHasItsNearest()
    {
        var before = ThreadRanks.Run(1, ranks => SmallMethods.Train("deepcluster_v2", ranks, [Images], ScalarType.Float64, 1))[0].State;
        var after = ThreadRanks.Run(1, ranks => SmallMethods.Train("deepcluster_v2", ranks, [Images], ScalarType.Float64, 2))[0];
        after.Losses[1].ShouldBeGreaterThan(0);
        for (var h = 0; h < 3; h++)
        {
            double[][] memory = [.. before[$"memory{h % 2}.rows_0"].Chunk(10)];    // sets take the two remembered views in turn
            double[][] prototypes = [.. after.State["clusters.prototypes"].Chunk(10).Skip(4 * h).Take(4)];
            double[] expected = [.. memory.Select(z => (double)Enumerable.Range(0, 4).MaxBy(k => Rows.Dot(z, prototypes[k])))];
            after.State["clusters.assignments"][(h * Images)..((h + 1) * Images)].ShouldBe(expected, $"set {h}");
            foreach (var prototype in prototypes)
                Rows.Dot(prototype, prototype).ShouldBe(1, 1e-9);
        }
    }

    [Fact]
    public void Create_ThingsThatDoNotFit_AreRefusedWithTheReason()
    {
        MethodSetup Setup(long images) =>
            new(new ResNetOptions { Width = 8 }, new Normalization(TorchStack.Current, null), Rows.OneRank(4), [16, 16]) { Images = images };
        Should.Throw<ArgumentException>(() => new DeepClusterV2Options().Create(Setup(0))).Message.ShouldContain("the number of images in the dataset");
        Should.Throw<ArgumentException>(() => new DeepClusterV2Options().Create(Setup(100))).Message.ShouldContain("3000 clusters, but the dataset has 100 images");
        var late = new DeepClusterV2Options { Prototypes = 81, Bank = new() { Staleness = 5 } };
        Should.Throw<ArgumentException>(() => late.Create(Setup(100))).Message.ShouldContain("80 images can be seen, too few for 81 clusters");
        (late with { Prototypes = 80 }).Create(Setup(100)).Dispose();
        Should.Throw<ArgumentException>(() => new DeepClusterV2Options { Prototypes = 4, CodeViews = 3 }.Create(Setup(100))).Message.ShouldContain("3 views are remembered, but an image has 2");
    }
}

using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

/// <summary>Every method with networks small enough to train a few steps in a test, on fixed random images.</summary>
public static class SmallMethods
{
    public const int Images = 12, Size = 16;
    private const double Rate = 0.05;
    private static readonly Lock Generator = new();

    /// <summary>Settings in which a method shows more than in those that <see cref="Derive"/> would give it.</summary>
    private static readonly Dictionary<string, (MethodOptions Options, int[] ViewSizes)> Chosen = new()
    {
        ["barlow_twins"] = (new BarlowTwinsOptions { ProjectorHidden = 24, ProjectorOutput = 10, Lambda = 0.02 }, [Size, Size]),
        ["vicreg"] = (new VicRegOptions { ProjectorHidden = 24, ProjectorOutput = 10 }, [Size, Size]),
        ["byol"] = (new ByolOptions { Hidden = 24, ProjectorOutput = 10, Momentum = 0.8 }, [Size, Size]),
        ["simsiam"] = (new SimSiamOptions { ProjectorOutput = 16, PredictorHidden = 6 }, [Size, Size]),
        ["simclr"] = (new SimClrOptions { Temperature = 0.2, ProjectorHidden = 24, ProjectorOutput = 16 }, [Size, Size]),
        ["moco"] = (new MoCoOptions { Queue = 2 * Images, Momentum = 0.8, ProjectorOutput = 10, ShuffleGroups = 5 }, [Size, Size]),
        ["moco without shuffle"] = (new MoCoOptions { Queue = 3 * Images, Momentum = 0.8, ProjectorOutput = 10, ShuffleGroups = 0 }, [Size, Size]),
        ["moco v1"] = (new MoCoOptions { Queue = 2 * Images, Momentum = 0.8, ProjectorOutput = 10, ProjectorLayers = 1, Temperature = 0.07, ShuffleGroups = 4 }, [Size, Size]),
        ["moco_v3"] = (new MoCoV3Options { Momentum = 0.8, Hidden = 24, ProjectorOutput = 10 }, [Size, Size]),
        ["swav"] = (new SwAvOptions { Prototypes = 7, FreezeSteps = 1, ProjectorHidden = 24, ProjectorOutput = 10 }, [Size, Size]),
        ["swav with queue and small crops"] = (new SwAvOptions { Prototypes = 7, FreezeSteps = 0, Queue = Images, QueueFrom = 1, ProjectorHidden = 24, ProjectorOutput = 10 }, [Size, Size, 8, 8]),
        ["dino"] = (new DinoOptions { Momentum = 0.8, FreezeSteps = 1, TeacherWarmupSteps = 2, TeacherTemperature = 0.07, Hidden = 24, Bottleneck = 8, Outputs = 12 }, [Size, Size]),
        ["triplet"] = (new TripletOptions { Margin = 0.5, ProjectorOutput = 10 }, [Size, Size]),
        ["contrastive_margin"] = (new ContrastiveMarginOptions { Margin = 1.5, ProjectorOutput = 10 }, [Size, Size]),
        ["pirl"] = (new PirlOptions { Negatives = 5, ProjectorOutput = 10, Temperature = 0.3 }, [Size, 24]),
        ["pirl with two layers and softmax"] = (new PirlOptions { Negatives = 7, ProjectorOutput = 10, Temperature = 0.2, ProjectorLayers = 2, InfoNce = true, NormalizeHead = true }, [Size, 24]),
        ["deepcluster_v2"] = (new DeepClusterV2Options { Prototypes = 4, PrototypeSets = 3, Iterations = 4, ProjectorHidden = 24, ProjectorOutput = 10 }, [Size, Size, 8]),
        ["dino with small crops"] = (new DinoOptions { Momentum = 0.8, CentreMomentum = 0.5, FreezeSteps = 0, NormalizeHead = true, Hidden = 24, Bottleneck = 8, Outputs = 12 }, [Size, Size, 8]),
    };

    /// <summary>One or more settings of each registered method, by the name tests show: a method that nothing was chosen for has its defaults, made small.</summary>
    public static IReadOnlyDictionary<string, (MethodOptions Options, int[] ViewSizes)> All { get; } = Chosen
        .Concat(MethodRegistry.Names.Where(name => !Chosen.ContainsKey(name)).Select(name => KeyValuePair.Create(name, Derive(name)))).ToDictionary();

    /// <summary>All settings, as data of a theory.</summary>
    public static TheoryData<string> Names => [.. All.Keys];

    /// <summary>What some steps of one rank's training gave.</summary>
    /// <param name="Losses">Of the global batch, one per step.</param>
    /// <param name="Gradients">Of the global batch at the first step that has any, by parameter.</param>
    /// <param name="State">All parameters, buffers and momenta after the last step.</param>
    public sealed record Outcome(List<double> Losses, Dictionary<string, double[]> Gradients, Dictionary<string, double[]> State);

    /// <summary>The step whose gradients are compared: the first that has any.</summary>
    public static int FirstGradient(string name)
    {
        using var method = Create(name, new SingleRank(1), [Images], ScalarType.Float32);
        return FirstGradient(method);
    }

    /// <summary>A learning rate at which embeddings differ after some updates. DINO's small head starts with a bottleneck so short that at any other its biases soon say the same of all images.</summary>
    public static double GentleRate(string name) => All[name].Options is DinoOptions ? 1e-8 : Rate;

    /// <summary>A registered method's defaults, with sizes that train in moments.</summary>
    public static (MethodOptions Options, int[] ViewSizes) Derive(string name)
    {
        var options = MethodRegistry.Defaults(name).Read(new SmallReader());
        return (options, [.. options.SmallestViews]);
    }

    /// <summary>Builds a method: the same weights every time.</summary>
    public static IMethod Create(string name, ICollective ranks, int[] counts, ScalarType type, bool sync = true) =>
        Create(All[name].Options, All[name].ViewSizes, ShareOf(ranks, counts), type, sync);

    /// <summary>As above, for any options.</summary>
    public static IMethod Create(MethodOptions options, int[] sizes, RankShare share, ScalarType type, bool sync = true)
    {
        lock (Generator)
        {
            manual_seed(5);
            var norm = new Normalization(TorchStack.Current, sync ? share.Ranks : null);
            var method = options.Create(new MethodSetup(new ResNetOptions { Width = 8, Stem = ResNetStem.Small }, norm, share, sizes) { Images = Images });
            method.Network.to(type);
            return method;
        }
    }

    /// <summary>A rank's share of the images, which are those of the dataset in order.</summary>
    public static RankShare ShareOf(ICollective ranks, int[] counts)
    {
        var share = new RankShare(ranks, counts);
        Show(share);
        return share;
    }

    /// <summary>
    /// Trains as one rank of a world on this rank's part of the global batch, and shows the trained method before it is freed. Another
    /// <paramref name="draw"/> is of other images.
    /// </summary>
    public static Outcome Train(
        string name, ICollective ranks, int[] counts, ScalarType type, int steps, Action<IMethod>? trained = null, double rate = Rate, int draw = 0) =>
        Train(All[name].Options, All[name].ViewSizes, ranks, counts, type, steps, trained, rate, draw);

    /// <summary>As above, for any options.</summary>
    public static Outcome Train(
        MethodOptions options, int[] sizes, ICollective ranks, int[] counts, ScalarType type, int steps, Action<IMethod>? trained = null, double rate = Rate, int draw = 0)
    {
        using var scope = NewDisposeScope();
        var share = ShareOf(ranks, counts);
        using var method = Create(options, sizes, share, type);
        var first = FirstGradient(method);
        var named = method.Network.named_parameters().Where(p => p.parameter.requires_grad).ToList();
        using var buckets = new GradientBuckets([.. named.Select(p => p.parameter)], ranks, bucketBytes: 4096, extras: 1, TorchStack.Current);
        using var optimizer = new Optimizer(new OptimizerOptions { WeightDecay = 0.01 }, named, TorchStack.Current);
        var outcome = new Outcome([], [], []);
        for (var step = 0; step < steps; step++)
        {
            using var inner = NewDisposeScope();
            Show(share);
            var loss = method.Loss(Views(sizes, ranks.Rank, counts, type, step + (1000 * draw)));
            buckets.Begin([loss.Value.detach().to(ScalarType.Float64).item<double>()]);
            loss.Value.backward();
            var sums = new double[1];
            buckets.Finish(sums).ShouldBeTrue();
            outcome.Losses.Add(sums[0]);
            if (step == first)
            {
                foreach (var ((parameter, _), gradient) in named.Zip(buckets.Gradients))
                    outcome.Gradients.Add(parameter, Doubles(gradient));
            }

            optimizer.Step(buckets.Gradients, rate, parameter => method.UpdateOf(parameter, step));
            method.AfterUpdate(step + 1, totalSteps: 2 * steps);
        }

        trained?.Invoke(method);

        foreach (var (key, tensor) in method.Network.state_dict().Select(t => (t.Key, t.Value)).Concat(optimizer.State))
            outcome.State.Add(key, Doubles(tensor));
        return outcome;
    }

    /// <summary>This rank's views of the global batch of a step, one tensor for each size: an image's views are its own noise and some more.</summary>
    public static IReadOnlyList<Tensor> Views(string name, int rank, int[] counts, ScalarType type, int step) => Views(All[name].ViewSizes, rank, counts, type, step);

    private static IReadOnlyList<Tensor> Views(int[] sizes, int rank, int[] counts, ScalarType type, int step)
    {
        var (offset, count) = (counts.Take(rank).Sum(), counts[rank]);
        return [.. sizes.Index().GroupBy(view => view.Item).Select(group => cat([.. group.Select(view =>
        {
            var (index, size) = view;
            var (image, more) = (new Random(7 + size), new Random(11 + (100 * step) + index));
            var all = Enumerable.Range(0, Images * 3 * size * size).Select(_ => image.NextDouble() + (0.5 * more.NextDouble()) - 0.75).ToArray();
            return tensor(all).view(Images, 3, size, size).narrow(0, offset, count).to(type);
        })]))];
    }

    private static int FirstGradient(IMethod method) => Enumerable.Range(0, 10).First(step =>
        method.Network.named_parameters().Any(p => p.parameter.requires_grad && method.UpdateOf(p.name, step) != ParameterUpdate.Frozen));

    private static void Show(RankShare share) => share.Show([.. Enumerable.Range(share.Offset, share.Count).Select(i => (long)i)]);

    public static double[] Doubles(Tensor t) => t.detach().to(ScalarType.Float64).contiguous().flatten().data<double>().ToArray();

    /// <summary>Small numbers without knowing the method: a queue is two batches, a width 10, a momentum at most 0.8, so that what it averages moves.</summary>
    private sealed class SmallReader : IOptionReader
    {
        public double Real(string key, double value, double min, double max, bool aboveMin) =>
            key.EndsWith("momentum", StringComparison.Ordinal) ? Math.Max(min, Math.Min(value, 0.8)) : value;

        public int Count(string key, int value, int min, int max) => Math.Clamp(value switch
        {
            >= 1 << 15 => 2 * Images,                                         // a queue
            > 16 => 10,
            > 5 => 5,
            _ => value,
        }, min, max);

        public long Whole(string key, long value, long min, long max) => Math.Max(min, Math.Min(value, 1));

        public bool Switch(string key, bool value) => value;
    }
}

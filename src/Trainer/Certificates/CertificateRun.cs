using DarkMatter.Grains;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Certificates;

/// <summary>What one world's training gave, as numbers that no longer need a tensor.</summary>
/// <param name="Losses">Of the global batch, one for each update.</param>
/// <param name="Gradients">Of the global batch at every update, by parameter.</param>
/// <param name="State">After the last update, by name: parameters, averages, queues, prototypes, running statistics; optimizer's momenta begin with "momentum.".</param>
internal sealed record CertificateOutcome(
    IReadOnlyList<double> Losses, IReadOnlyList<IReadOnlyDictionary<string, double[]>> Gradients, IReadOnlyDictionary<string, double[]> State);

/// <summary>Trains a setting for some steps as some world would: with the product's own loop, networks, buckets, collectives and optimizer.</summary>
internal static class CertificateRun
{
    /// <summary>
    /// In float32 the learning rate is next to nothing: two worlds then hold the same parameters to the last bits at every update, and each update is
    /// a measurement of its own. With a usual rate even two runs of one rank that differ in one last bit part within some updates.
    /// </summary>
    private static double LearningRate(Precision precision) => precision == Precision.Float64 ? 0.01 : 1e-6;

    /// <summary>Trains as <paramref name="world"/> ranks; what rank 0 has in the end, since the ranks have compared hashes.</summary>
    /// <exception cref="AggregateException">A rank failed.</exception>
    public static async Task<CertificateOutcome> TrainAsync(CertificateCase certified, Precision precision, int world, int steps) =>
        (await LoopbackRanks.RunAsync(world, ranks => Train(Options(certified, precision, ranks, steps), ranks)))[0];

    private static CertificateOutcome Train(TrainOptions options, ICollective ranks)
    {
        using var state = TrainState.Prepare(options, TorchStack.Current);
        var session = new Session(state);
        TrainingRun.Generation(options, state, step => new CertificateViews(options, step), ranks, session, CancellationToken.None);
        var tensors = state.Method.Network.state_dict().Select(t => (t.Key, t.Value)).Concat(state.Optimizer.State);
        return new CertificateOutcome(session.Losses, session.Gradients, tensors.ToDictionary(t => t.Item1, t => Doubles(t.Item2)));
    }

    private static TrainOptions Options(CertificateCase certified, Precision precision, ICollective ranks, int steps)
    {
        var lanes = LaneShare.Of(ranks.Rank, ranks.World, CertificateOptions.Lanes);
        return new TrainOptions
        {
            Run = $"certificate of {certified.Name}",
            Seed = 1,
            GlobalBatch = CertificateOptions.Images,
            DatasetImages = 2 * CertificateOptions.Images,                    // an epoch is two steps
            LaneCount = CertificateOptions.Lanes,
            FirstLane = lanes[0],
            Lanes = lanes.Length,
            ImageSize = certified.ViewSizes[0],
            ViewSizes = certified.ViewSizes,
            TotalSteps = steps,
            Precision = precision,
            Model = new ResNetOptions { Width = 8, Stem = ResNetStem.Small },
            Method = certified.Options,
            Optimizer = new OptimizerOptions { LearningRate = LearningRate(precision) },
            HashEvery = steps,
            Watch = new WatchOptions { Every = 1 },
            BucketBytes = 64 << 10,
        };
    }

    private static double[] Doubles(Tensor tensor)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        return tensor.detach().to(ScalarType.Float64).cpu().contiguous().flatten().data<double>().ToArray();
    }

    /// <summary>Keeps the losses and gradients of every update.</summary>
    private sealed class Session(TrainState state) : ITrainingSession
    {
        public List<double> Losses { get; } = [];

        public List<IReadOnlyDictionary<string, double[]>> Gradients { get; } = [];

        public bool StopRequested => false;

        public void StepsPlanned(long totalSteps)
        {
            // The number of steps is given.
        }

        public void StepApplied(StepReport report)
        {
            Losses.Add(report.Loss);
            var names = state.Method.Network.named_parameters().Where(p => p.parameter.requires_grad).Select(p => p.name);
            Gradients.Add(names.Zip(state.Gradients.Gradients.Select(Doubles)).ToDictionary());
        }

        public Task PublishCheckpointAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken) => Task.CompletedTask;

        public void Note(string message)
        {
            // Nobody reads along.
        }
    }
}

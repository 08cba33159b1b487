using DarkMatter.Grains;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Certificates;

/// <summary>An update that is measured.</summary>
/// <param name="Step">Updates applied before it.</param>
/// <param name="Draw">Of which images: 0 for those of the run, 1 and above for others in their place.</param>
internal readonly record struct UpdateKey(int Step, int Draw);

/// <summary>How far an update of one rank of a world, or of all, is from one rank's, and the fingerprint of the state after it.</summary>
internal sealed record UpdateErrors(Deviation Loss, Deviation Gradient, Deviation State, ulong Hash, bool Differs)
{
    /// <summary>The largest of them.</summary>
    public Deviation Largest => Deviation.Largest([Loss, Gradient, State]);

    /// <summary>The largest errors of all ranks.</summary>
    public static UpdateErrors OfAll(IReadOnlyList<UpdateErrors> ranks) => new(
        Deviation.Largest(ranks.Select(r => r.Loss)), Deviation.Largest(ranks.Select(r => r.Gradient)), Deviation.Largest(ranks.Select(r => r.State)),
        ranks[0].Hash, ranks.Any(r => r.Hash != ranks[0].Hash));
}

/// <summary>
/// Trains a setting as one rank and keeps what every update began from and gave; then trains it as other worlds, with the product's own loop, networks,
/// buckets, collectives and optimizer, and compares every rank's every update.
/// </summary>
/// <param name="certified">The setting.</param>
/// <param name="precision">What is computed in.</param>
/// <param name="steps">Updates of the run.</param>
internal sealed class CertificateRun(CertificateCase certified, Precision precision, int steps) : IDisposable
{
    private readonly Dictionary<UpdateKey, (double Loss, Snapshot Gradients, Snapshot State)> _one = [];
    private Snapshot? _start;

    /// <summary>All updates of the run, on its own images.</summary>
    public IReadOnlyList<UpdateKey> Updates => [.. Enumerable.Range(0, steps).Select(step => new UpdateKey(step, 0))];

    /// <summary>Trains as <paramref name="world"/> ranks and compares: for each update the errors of all ranks.</summary>
    /// <param name="world">W.</param>
    /// <param name="updates">In the order in which they are made.</param>
    /// <param name="alone">Whether each update begins from the state that one rank had before it, instead of from that of the update before.</param>
    /// <exception cref="AggregateException">A rank failed.</exception>
    public async Task<IReadOnlyList<UpdateErrors>> CompareAsync(int world, IReadOnlyList<UpdateKey> updates, bool alone)
    {
        await TrainOneAsync([.. updates.Where(update => !_one.ContainsKey(update))]);
        var ranks = await LoopbackRanks.RunAsync(world, rank =>
        {
            var found = new List<UpdateErrors>();
            Train(rank, updates, alone, (tensors, update, loss) => found.Add(Errors(tensors, update, loss, rank.Rank)));
            return found;
        });
        return [.. updates.Select((_, i) => UpdateErrors.OfAll([.. ranks.Select(found => found[i])]))];
    }

    /// <summary>Frees what is kept.</summary>
    public void Dispose()
    {
        _start?.Dispose();
        foreach (var (_, gradients, state) in _one.Values)
        {
            gradients.Dispose();
            state.Dispose();
        }
    }

    private async Task TrainOneAsync(IReadOnlyList<UpdateKey> updates)
    {
        if (updates.Count > 0)
        {
            await LoopbackRanks.RunAsync(1, rank => Train(rank, updates, alone: updates[0].Draw > 0, (tensors, update, loss) =>
                _one.Add(update, (loss, new Snapshot(tensors.Gradients), new Snapshot(tensors.State)))));
        }
    }

    private UpdateErrors Errors(RankTensors tensors, UpdateKey update, double loss, int rank)
    {
        var one = _one[update];
        var difference = Math.Abs(loss - one.Loss) / Math.Max(1, Math.Abs(one.Loss));
        return new UpdateErrors(
            Found("the loss", double.IsFinite(difference) ? difference : double.PositiveInfinity),
            Deviation.Largest(one.Gradients.Errors(tensors.Gradients).Select(e => Found(e.Name, e.Error))),
            Deviation.Largest(one.State.Errors(tensors.State).Select(e => Found(e.Name, e.Error))),
            tensors.Hash(), Differs: false);

        Deviation Found(string where, double error) => new(error, where, update.Step + 1, rank);
    }

    /// <returns>The updates that were made.</returns>
    private int Train(ICollective ranks, IReadOnlyList<UpdateKey> updates, bool alone, Action<RankTensors, UpdateKey, double> made)
    {
        var options = Options(ranks);
        using var state = TrainState.Prepare(options, TorchStack.Current);
        var tensors = new RankTensors(state);
        _start ??= new Snapshot(tensors.State);                               // one rank comes first, and a fresh state is every rank's
        var session = new Session(updates, (update, loss) => made(tensors, update, loss), update =>
        {
            if (!alone)
                return;
            (update.Step == 0 ? _start : _one[new UpdateKey(update.Step - 1, 0)].State).CopyTo(tensors.State);
            state.Apply(state.Progress() with { Step = update.Step });
        });
        session.Next();
        TrainingRun.Generation(options, state, _ => new CertificateViews(options, updates), ranks, session, CancellationToken.None);
        return session.Made == updates.Count
            ? session.Made
            : throw new InvalidOperationException($"{options.Run}: {session.Made} of {updates.Count} updates were made");
    }

    private TrainOptions Options(ICollective ranks)
    {
        var lanes = LaneShare.Of(ranks.Rank, ranks.World, CertificateOptions.Lanes);
        return new TrainOptions
        {
            Run = $"certificate of {certified.Name}",
            Seed = 1,
            GlobalBatch = CertificateOptions.Images,
            DatasetImages = certified.DatasetImages,
            LaneCount = CertificateOptions.Lanes,
            FirstLane = lanes[0],
            Lanes = lanes.Length,
            ImageSize = certified.ViewSizes[0],
            ViewSizes = certified.ViewSizes,
            TotalSteps = steps,
            Precision = precision,
            Model = certified.Model,
            Method = certified.Options,
            Optimizer = certified.Optimizer with { LearningRate = certified.Optimizer.LearningRate * CertificateOptions.RateOf(precision) },
            HashEvery = 0,                                                    // a rank that differs is to be measured, not to leave
            Watch = new WatchOptions { Every = 1 },
            BucketBytes = 64 << 10,
        };
    }

    /// <summary>What a rank has after an update.</summary>
    private sealed class RankTensors(TrainState state)
    {
        /// <summary>Of the global batch.</summary>
        public IReadOnlyList<NamedTensor> Gradients { get; } =
            [.. Trained(state).Zip(state.Gradients.Gradients, (name, gradient) => new NamedTensor(name, "gradient", gradient))];

        /// <summary>Networks and optimizer.</summary>
        public IReadOnlyList<NamedTensor> State { get; } = [.. Named(state)];

        /// <summary>The fingerprint that ranks compare.</summary>
        public ulong Hash() => state.Hash();

        private static List<string> Trained(TrainState state)
        {
            var names = state.Method.Network.named_parameters().Where(p => p.parameter.requires_grad).Select(p => p.name).ToList();
            return names.Count == state.Gradients.Gradients.Count ? names : throw new InvalidOperationException($"{names.Count} parameters have {state.Gradients.Gradients.Count} gradients");
        }

        private static IEnumerable<NamedTensor> Named(TrainState state)
        {
            var parameters = state.Method.Network.named_parameters().Select(p => p.name).ToHashSet();
            return state.Method.Network.state_dict().Select(t => new NamedTensor(t.Key, parameters.Contains(t.Key) ? "parameter" : t.Key.Split('.')[^1], t.Value))
                .Concat(state.Optimizer.State.Select(t => new NamedTensor(t.Name, t.Name.Split('.')[0] + " of the optimizer", t.Tensor)));
        }
    }

    /// <summary>Shows every update when it is made, and prepares the next.</summary>
    private sealed class Session(IReadOnlyList<UpdateKey> updates, Action<UpdateKey, double> made, Action<UpdateKey> prepare) : ITrainingSession
    {
        public int Made { get; private set; }

        public bool StopRequested => Made == updates.Count - 1;

        public void Next() => prepare(updates[Made]);

        public void StepsPlanned(long totalSteps)
        {
            // The number of steps is given.
        }

        public void StepApplied(StepReport report)
        {
            made(updates[Made++], report.Loss);
            if (Made < updates.Count)
                Next();
        }

        public Task PublishCheckpointAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken) => Task.CompletedTask;

        public void Note(string message)
        {
            // Nobody reads along.
        }
    }
}

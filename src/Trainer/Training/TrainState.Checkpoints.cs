using DarkMatter.Trainer.Checkpoints;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

// The way between memory and checkpoints.
public sealed partial class TrainState
{
    /// <summary>What a checkpoint says besides tensors.</summary>
    public TrainingProgress Progress()
    {
        using var random = get_rng_state();
        return new TrainingProgress
        {
            Run = _options.Run,
            Step = Step,
            TotalSteps = TotalSteps,
            Planned = Planned,
            TrainedSeconds = Trained.TotalSeconds,
            GlobalBatch = _options.GlobalBatch,
            LanePositions = [.. Enumerable.Repeat(Step * _options.ImagesPerLane, _options.LaneCount)],
            Seed = _options.Seed,
            RandomState = Convert.ToBase64String(random.bytes),
            Method = Method.Name,
            StateGeneration = Generation,
            Lineage = Lineage,
        };
    }

    /// <summary>A plan made before stays in force; one that was still to be made is what the options say now.</summary>
    public void Apply(TrainingProgress progress)
    {
        Step = progress.Step;
        if (progress.Planned)
            Plan(progress.TotalSteps);
        Trained = TimeSpan.FromSeconds(progress.TrainedSeconds);
        (Generation, Lineage) = (progress.StateGeneration, progress.Lineage);
        using var random = tensor(Convert.FromBase64String(progress.RandomState), dtype: ScalarType.Byte);
        lock (Generator)
            set_rng_state(random);
    }

    /// <summary>Overwrites everything with a checkpoint.</summary>
    /// <exception cref="CheckpointException">It is of another model, batch or number of lanes.</exception>
    public void Load(OpenCheckpoint checkpoint)
    {
        var (path, progress) = (checkpoint.Path, checkpoint.Manifest.Progress);
        if (progress.Method != Method.Name)
            throw new CheckpointException($"checkpoint '{path}': it is of method {progress.Method}, and the recipe says {Method.Name}");
        if (progress.GlobalBatch != _options.GlobalBatch || progress.LanePositions.Count != _options.LaneCount)
            throw new CheckpointException($"checkpoint '{path}': it was written with batch {progress.GlobalBatch} and {progress.LanePositions.Count} lanes, and the recipe has {_options.GlobalBatch} and {_options.LaneCount}; these fix the order of the data, so start a new run");
        Distrust();
        _model.Load(checkpoint.ModelFiles);
        _momenta.Load(checkpoint.OptimizerFiles);
        Apply(progress);
        Looks.Forget();
    }

    /// <summary>What writes this rank's part of checkpoints in this generation; null where none are written.</summary>
    public CheckpointWriter? CheckpointWriter(TrainOptions options, ITrainingSession session)
    {
        var coordinator = session.CheckpointCoordinator(Ranks.Generation);
        if (options.OpenStore() is not { } store || (coordinator is null && Ranks.Rank != 0))
            return null;
        var writer = new CheckpointWriterOptions
        {
            Rank = coordinator is null ? 0 : Ranks.Rank,
            World = coordinator is null ? 1 : Ranks.World,
            Generation = Ranks.Generation,
            Recipe = options.Recipe,
            Versions = Checkpoints.CheckpointWriter.Versions(Stack.Description),
            Retention = options.Retention,
            Note = session.Note,
        };
        // What the generation before still writes may become whole; once this one writes it is given up. A writer that writes nothing is let go at once,
        // and with it its copy of the state.
        _olderWriter?.Dispose();
        _olderWriter = _writer is { IsWriting: true } ? _writer : null;
        _writer = new CheckpointWriter(store, coordinator ?? new SoloCheckpoints(session.PublishCheckpointAsync), writer, _model, _momenta);
        return _writer;
    }

    /// <summary>Begins to write a checkpoint, unless a rank still writes the one before: all ranks write their parts, or none does.</summary>
    public void Save(CheckpointWriter? writer, bool busy, ITrainingSession session)
    {
        if (busy)
        {
            if (Ranks.Rank == 0)
                session.Note($"no checkpoint of step {Step}: a rank still writes the one before; write them less often (train.checkpoint_every)");
            return;
        }

        _olderWriter?.Dispose();
        _olderWriter = null;
        writer?.Save(Progress());
    }
}

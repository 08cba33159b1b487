using System.Buffers.Binary;
using System.Text.Json;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// Everything that changes while a run trains. At a step boundary all of it is the same on every rank, and all of it is in a checkpoint.
/// </summary>
public sealed class TrainState : IDisposable
{
    /// <summary>torch has one random generator per process; ranks that are threads of one take turns.</summary>
    private static readonly Lock Generator = new();

    private readonly TensorSet _model;
    private readonly TensorSet _momenta;
    private readonly IReadOnlyList<Tensor> _localStatistics;

    private TrainState(TrainOptions options, IMethod method, bool bfloat16, ITorchStack stack)
    {
        var named = method.Network.named_parameters().ToList();
        (Method, BFloat16, Stack) = (method, bfloat16, stack);
        Parameters = [.. named.Select(p => p.parameter)];
        Optimizer = new Optimizer(options.Optimizer, named, stack);
        _localStatistics = options.SyncBatchNorm ? [] : [.. method.Network.named_buffers().Select(b => b.buffer)];
        _model = new TensorSet(method.Network.state_dict().Select(t => (t.Key, t.Value)));
        _momenta = new TensorSet(Optimizer.State);
        TotalSteps = options.TotalSteps;
        Planned = options.Budget is null;
    }

    /// <summary>Updates applied.</summary>
    public long Step { get; set; }

    /// <summary>Updates of the whole run, as far as known.</summary>
    public long TotalSteps { get; set; }

    /// <summary>Whether <see cref="TotalSteps"/> is final.</summary>
    public bool Planned { get; set; }

    /// <summary>Time trained, over all parts of the run.</summary>
    public TimeSpan Trained { get; set; }

    /// <summary>Networks and loss.</summary>
    public IMethod Method { get; }

    /// <summary>What applies gradients.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>What is trained, in the order of its names' registration.</summary>
    public IReadOnlyList<Parameter> Parameters { get; }

    /// <summary>Whether the networks compute in bfloat16.</summary>
    public bool BFloat16 { get; }

    /// <summary>What computes.</summary>
    public ITorchStack Stack { get; }

    /// <summary>
    /// The state every rank starts from: initialised from the seed or read from a checkpoint by rank 0, then copied to the others.
    /// </summary>
    /// <exception cref="ArgumentException">The options have problems, or the ranks' shares do not make up the global batch.</exception>
    /// <exception cref="CheckpointException">The checkpoint is damaged or of another model.</exception>
    public static TrainState Create(TrainOptions options, ICollective ranks, ITorchStack stack)
    {
        var share = RankShare.Exchange(ranks, options.RankBatch);
        if (share.Total != options.GlobalBatch)
            throw new ArgumentException($"run '{options.Run}': the {ranks.World} ranks hold {string.Join(" + ", share.Counts)} = {share.Total} images of a step, but the global batch is {options.GlobalBatch}; the lanes are not dealt out completely", nameof(options));
        var bfloat16 = AgreeOnBFloat16(options.Precision, ranks, stack);
        var norm = new Normalization(stack, options.SyncBatchNorm ? ranks : null);
        SimClr method;
        lock (Generator)
        {
            manual_seed(options.Seed);
            method = new SimClr(options.Method, options.Model, norm, share, bfloat16);
        }

        if (options.Precision == Precision.Float64)
            method.Network.to(ScalarType.Float64);

        if (device(options.Device) is { type: not TorchSharp.DeviceType.CPU } accelerator)
            method.Network.to(accelerator);

        var state = new TrainState(options, method, bfloat16, stack);
        if (ranks.Rank == 0 && options.ResumeFrom is { } path)
            state.Load(path, options);
        state.CopyFromRank0(ranks, options);
        return state;
    }

    /// <summary>What a checkpoint says besides tensors.</summary>
    public TrainingProgress Progress(TrainOptions options)
    {
        using var random = get_rng_state();
        return new TrainingProgress
        {
            Run = options.Run,
            Step = Step,
            TotalSteps = TotalSteps,
            Planned = Planned,
            TrainedSeconds = Trained.TotalSeconds,
            GlobalBatch = options.GlobalBatch,
            LanePositions = [.. Enumerable.Repeat(Step * options.ImagesPerLane, options.LaneCount)],
            Seed = options.Seed,
            RandomState = Convert.ToBase64String(random.bytes),
            Method = Method.Name,
        };
    }

    /// <summary>The fingerprint of parameters, buffers and optimizer memory.</summary>
    public ulong Hash() => StateHash.Of(_model.Tensors.Concat(_momenta.Tensors).Select(t => t.Tensor));

    /// <summary>
    /// Makes sure that all ranks have one fingerprint, and returns it. Running statistics that each rank kept for itself, without
    /// synchronised normalisation, become rank 0's first: training does not read them.
    /// </summary>
    /// <exception cref="StateDivergedException">They have not.</exception>
    public ulong CompareHashes(ICollective ranks)
    {
        foreach (var statistics in _localStatistics)
            ranks.Broadcast(statistics, root: 0);
        var mine = Hash();
        if (ranks.World == 1)
            return mine;
        Span<byte> own = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(own, mine);
        var bytes = new byte[8 * ranks.World];
        ranks.AllGather(own, bytes, Enumerable.Repeat(8, ranks.World).ToArray());
        var hashes = Enumerable.Range(0, ranks.World).Select(r => BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(8 * r))).ToArray();
        return hashes.Distinct().Count() == 1
            ? mine
            : throw new StateDivergedException($"step {Step}, generation {ranks.Generation}: the ranks hold different states ({string.Join(", ", hashes.Select((h, r) => $"rank {r} {h:x16}"))}); nothing more is written. Resume from the last checkpoint; if it happens again, a machine computes wrongly");
    }

    /// <summary>What writes checkpoints; null where none are written: without a run directory, and on all ranks but the first.</summary>
    public CheckpointWriter? CheckpointWriter(TrainOptions options, int rank, long generation, ITrainingSession session) =>
        options.RunDirectory is not { } directory || rank != 0
            ? null
            : new CheckpointWriter(
                CheckpointFolder.Store(directory),
                new SoloCheckpoints((published, cancellation) => session.PublishCheckpointAsync(new CheckpointReport(published.Step, published.Path, published.ManifestSha256), cancellation)),
                new CheckpointWriterOptions
                {
                    Generation = generation,
                    Recipe = options.Recipe,
                    Versions = Checkpoints.CheckpointWriter.Versions(Stack.Description),
                    Retention = new CheckpointRetention(options.CheckpointsKept),
                    Note = session.Note,
                },
                _model,
                _momenta);

    /// <summary>Frees networks and optimizer.</summary>
    public void Dispose()
    {
        Optimizer.Dispose();
        Method.Dispose();
    }

    private static bool AgreeOnBFloat16(Precision precision, ICollective ranks, ITorchStack stack)
    {
        double[] prefer = [precision == Precision.BFloat16 || (precision == Precision.Auto && stack.PrefersBFloat16) ? 1 : 0];
        ranks.AllReduceSum(prefer);
        return prefer[0] == ranks.World;
    }

    private void Load(string path, TrainOptions options)
    {
        using var checkpoint = CheckpointFolder.Open(path);
        var progress = checkpoint.Manifest.Progress;
        if (progress.Method != Method.Name)
            throw new CheckpointException($"checkpoint '{path}': it is of method {progress.Method}, and the recipe says {Method.Name}");
        if (progress.GlobalBatch != options.GlobalBatch || progress.LanePositions.Count != options.LaneCount)
            throw new CheckpointException($"checkpoint '{path}': it was written with batch {progress.GlobalBatch} and {progress.LanePositions.Count} lanes, and the recipe has {options.GlobalBatch} and {options.LaneCount}; these fix the order of the data, so start a new run");
        _model.Load(checkpoint.ModelFiles);
        _momenta.Load(checkpoint.OptimizerFiles);
        Apply(progress);
    }

    /// <summary>A plan made before stays in force; one that was still to be made is what the options say now.</summary>
    private void Apply(TrainingProgress progress)
    {
        Step = progress.Step;
        if (progress.Planned)
            (TotalSteps, Planned) = (progress.TotalSteps, true);
        Trained = TimeSpan.FromSeconds(progress.TrainedSeconds);
        using var random = tensor(Convert.FromBase64String(progress.RandomState), dtype: ScalarType.Byte);
        set_rng_state(random);
    }

    private void CopyFromRank0(ICollective ranks, TrainOptions options)
    {
        if (ranks.World == 1)
            return;
        var json = JsonSerializer.SerializeToUtf8Bytes(Progress(options), CheckpointJson.Default.TrainingProgress);
        var length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, json.Length);
        ranks.Broadcast(length, root: 0);
        Array.Resize(ref json, BinaryPrimitives.ReadInt32LittleEndian(length));
        ranks.Broadcast(json, root: 0);
        if (ranks.Rank != 0)
            Apply(JsonSerializer.Deserialize(json, CheckpointJson.Default.TrainingProgress)!);
        foreach (var (_, tensor) in _model.Tensors.Concat(_momenta.Tensors))
        {
            using var _ = no_grad();
            ranks.Broadcast(tensor, root: 0);
        }
    }
}

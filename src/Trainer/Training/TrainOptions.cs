using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;

namespace DarkMatter.Trainer.Training;

/// <summary>What numbers the forward and backward pass are computed in. Parameters, loss, gradients and optimizer are float32, or all float64.</summary>
public enum Precision
{
    /// <summary>bfloat16 where the hardware has instructions for it, else float32.</summary>
    Auto = 0,

    /// <summary>float32 throughout.</summary>
    Float32 = 1,

    /// <summary>Convolutions and linear layers in bfloat16 (autocast), the rest in float32.</summary>
    BFloat16 = 2,

    /// <summary>
    /// float64 throughout, parameters and optimizer included: several times slower, for comparing runs. The rounding of sums over other world sizes
    /// then grows to visible differences only after many more steps.
    /// </summary>
    Float64 = 3,
}

/// <summary>Everything one trainer needs to know to take part in a run: the resolved recipe, as the training loop sees it.</summary>
public sealed record TrainOptions
{
    /// <summary>The run's name; it stands in every message.</summary>
    public required string Run { get; init; }

    /// <summary>Initialises the network. The same on every rank; the data order has its own, in the loader. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>B, images per step over all ranks.</summary>
    public required int GlobalBatch { get; init; }

    /// <summary>V, lanes over all ranks; each gives B/V images per step.</summary>
    public required int LaneCount { get; init; }

    /// <summary>The first of this rank's lanes and their number; they are contiguous.</summary>
    public required int FirstLane { get; init; }

    /// <summary>The number of this rank's lanes.</summary>
    public required int Lanes { get; init; }

    /// <summary>Images of the dataset, for methods that remember every one; 0 (default): not known.</summary>
    public long DatasetImages { get; init; }

    /// <summary>Height and width of the square views, in pixels.</summary>
    public required int ImageSize { get; init; }

    /// <summary>The same for each view, where views have several sizes (multi-crop). Default: two views of <see cref="ImageSize"/>.</summary>
    public IReadOnlyList<int> ViewSizes { get => field ?? [ImageSize, ImageSize]; init; }

    /// <summary>What is subtracted from each channel of a view scaled to 0..1. Default: ImageNet's.</summary>
    public IReadOnlyList<float> Mean { get; init; } = [0.485f, 0.456f, 0.406f];

    /// <summary>What each channel is then divided by. Default: ImageNet's.</summary>
    public IReadOnlyList<float> Std { get; init; } = [0.229f, 0.224f, 0.225f];

    /// <summary>The steps of the whole run, or their upper limit when <see cref="Budget"/> is set.</summary>
    public required long TotalSteps { get; init; }

    /// <summary>
    /// Time for the training steps of the whole run. When set and no plan is in force yet, rank 0 measures the rate in the first
    /// <see cref="CalibrationSteps"/> steps or more (<see cref="StepPlan.Measured"/>) and lowers the total to what fits. Null: all of <see cref="TotalSteps"/>.
    /// </summary>
    public TimeSpan? Budget { get; init; }

    /// <summary>The fewest steps the rate is measured over, after <see cref="StepPlan.WarmupSteps"/> that warm up. Default 16.</summary>
    public int CalibrationSteps { get; init; } = 16;

    /// <summary>Default <see cref="Training.Precision.Auto"/>.</summary>
    public Precision Precision { get; init; } = Precision.Auto;

    /// <summary>Batch normalisation over the global batch instead of each rank's part. Default true: W ranks then train as one.</summary>
    public bool SyncBatchNorm { get; init; } = true;

    /// <summary>The backbone.</summary>
    public BackboneOptions Model { get; init; } = new ResNetOptions();

    /// <summary>The method: heads and loss. Default SimCLR.</summary>
    public MethodOptions Method { get; init; } = new SimClrOptions();

    /// <summary>Optimizer and schedule.</summary>
    public OptimizerOptions Optimizer { get; init; } = new();

    /// <summary>The directory that gets <c>checkpoints/&lt;step&gt;/</c>. Null: no checkpoints.</summary>
    public string? RunDirectory { get; init; }

    /// <summary>Steps between checkpoints; 0 writes only the last. Default 500.</summary>
    public long CheckpointEvery { get; init; } = 500;

    /// <summary>Which checkpoints stay once a newer is published. Default: the last 3.</summary>
    public CheckpointRetention Retention { get; init; } = new();

    /// <summary>Where checkpoints lie instead of in <see cref="RunDirectory"/>; null: there.</summary>
    public CheckpointStore? Store { get; init; }

    /// <summary>The newest checkpoint's folder, to go on from where no rank holds anything newer; null starts anew.</summary>
    public string? ResumeFrom { get; init; }

    /// <summary>Updates applied in that checkpoint.</summary>
    public long ResumeStep { get; init; }

    /// <summary>The generation that wrote that checkpoint; 0 when it is not known. Default 0.</summary>
    public long ResumeGeneration { get; init; }

    /// <summary>Train nothing: agree on the newest state and take a checkpoint of it. Default false.</summary>
    public bool SaveOnly { get; init; }

    /// <summary>The resolved recipe as text: written into every checkpoint.</summary>
    public string Recipe { get; init; } = "";

    /// <summary>Steps between comparisons of the ranks' state hashes (invariant 1), besides those before each checkpoint; 0 never. Default 100.</summary>
    public long HashEvery { get; init; } = 100;

    /// <summary>The look at the embeddings for signs of collapse. Default: every 50 steps, with a warning.</summary>
    public Evaluation.WatchOptions Watch { get; init; } = new();

    /// <summary>Bytes of gradients that travel together. Default 4 MiB.</summary>
    public int BucketBytes { get; init; } = 4 << 20;

    /// <summary>Threads libtorch computes with; 0 leaves its default (one per core).</summary>
    public int Threads { get; init; }

    /// <summary>The device: <c>cpu</c>, <c>cuda</c> or <c>cuda:1</c>. Default cpu.</summary>
    public string Device { get; init; } = "cpu";

    /// <summary>B/V: images each lane gives per step.</summary>
    public int ImagesPerLane => GlobalBatch / LaneCount;

    /// <summary>Images this rank takes per step.</summary>
    public int RankBatch => ImagesPerLane * Lanes;

    /// <summary>Where checkpoints lie; null: none are written.</summary>
    public CheckpointStore? OpenStore() => Store ?? (RunDirectory is null ? null : CheckpointFolder.Store(RunDirectory));

    /// <summary>Everything that is wrong with these options; empty when nothing is.</summary>
    public IEnumerable<string> Problems()
    {
        if (string.IsNullOrWhiteSpace(Run))
            yield return "name: a run needs a name";
        if (LaneCount < 1)
            yield return $"data.lanes: {LaneCount} is below 1";
        else if (GlobalBatch < 2)
            yield return $"train.batch: {GlobalBatch} is below 2; a contrastive loss compares each image with the others of its batch";
        else if (GlobalBatch % LaneCount != 0)
            yield return $"train.batch: {GlobalBatch} is not divisible into {LaneCount} lanes; choose a multiple, such as {((GlobalBatch / LaneCount) + 1) * LaneCount}";
        if (Lanes < 1 || FirstLane < 0 || FirstLane + Lanes > LaneCount)
            yield return $"lanes {FirstLane}..{FirstLane + Lanes - 1} of this rank are not within 0..{LaneCount - 1}; there are more trainers than lanes, or the assignment is wrong";
        if (ImageSize is < 8 or > 1024)
            yield return $"views.size: {ImageSize} is outside 8..1024 pixels";
        if (Mean.Count != 3 || Std.Count != 3 || Std.Any(s => !(s > 0)))
            yield return "views.mean and views.std: three channels each, and every std above 0";
        if (TotalSteps < 1)
            yield return $"train: {TotalSteps} steps in all; give more epochs, or a smaller batch than the dataset";
        if (Budget is { } budget && budget <= TimeSpan.Zero)
            yield return $"train.budget: {budget} is not a positive time";
        if (CalibrationSteps < 1)
            yield return $"train.calibration_steps: {CalibrationSteps} is below 1";
        if (CheckpointEvery < 0)
            yield return $"train.checkpoint_every: {CheckpointEvery} is below 0";
        if (Retention.KeepLast < 1)
            yield return $"checkpoints.keep_last: {Retention.KeepLast} is below 1";
        if (HashEvery < 0)
            yield return $"train.hash_every: {HashEvery} is below 0";
        if (BucketBytes < 1024)
            yield return $"train.bucket_bytes: {BucketBytes} is below 1024";
        if (Threads is < 0 or > 1024)
            yield return $"local.threads: {Threads} is outside 0..1024";
        if (Method.ViewProblem(ViewSizes) is { } views)
            yield return $"views: {views}";
        foreach (var problem in Model.Problems().Concat(Method.Problems()).Concat(Optimizer.Problems()))
            yield return problem;
    }
}

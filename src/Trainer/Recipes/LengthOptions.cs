using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Recipes;

/// <summary>Section <c>train</c>: how much is trained, in what numbers, and what is kept.</summary>
public sealed record LengthOptions
{
    /// <summary>Key <c>batch</c>: B, images of a step over all trainers; a multiple of <c>data.lanes</c>. Range 2 to 2^20, default 256.</summary>
    public int Batch { get; init; } = 256;

    /// <summary>Key <c>epochs</c>: times each image is seen; the schedule is laid over the steps that follow from it. Above 0, default 100.</summary>
    public double Epochs { get; init; } = 100;

    /// <summary>Key <c>max_steps</c>: an upper limit of steps; 0 for none. Default 0.</summary>
    public long MaxSteps { get; init; }

    /// <summary>
    /// Key <c>budget</c>: time the training steps may take. The rate is measured in the first steps, and the schedule shortened once to what
    /// fits. Default none.
    /// </summary>
    public TimeSpan? Budget { get; init; }

    /// <summary>Key <c>precision</c>: <c>auto</c>, <c>float32</c>, <c>bfloat16</c> or <c>float64</c>. Default auto: bfloat16 where the hardware has it.</summary>
    public Precision Precision { get; init; } = Precision.Auto;

    /// <summary>Key <c>sync_bn</c>: batch normalisation over the global batch. Default true: any number of trainers then trains as one.</summary>
    public bool SyncBatchNorm { get; init; } = true;

    /// <summary>Key <c>checkpoint_every</c>: steps between checkpoints; 0 writes only the last. Default 500.</summary>
    public long CheckpointEvery { get; init; } = 500;

    /// <summary>Key <c>hash_every</c>: steps between comparisons of the trainers' states; 0 for never. Default 100.</summary>
    public long HashEvery { get; init; } = 100;

    /// <summary>Key <c>bucket_bytes</c>: bytes of gradients that travel together. Range 1024 to 1 GiB, default 4 MiB.</summary>
    public int BucketBytes { get; init; } = 4 << 20;
}

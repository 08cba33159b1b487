namespace DarkMatter.Data;

/// <summary>What a <see cref="PretrainLoader"/> reads, in which order, and how far ahead.</summary>
public sealed record PretrainLoaderOptions
{
    /// <summary>The dataset folder that <c>darkmatter pack</c> made.</summary>
    public required string DatasetPath { get; init; }

    /// <summary>The run's data seed: order and augmentation follow from it.</summary>
    public long Seed { get; init; }

    /// <summary>V, the lanes of the run. It divides <see cref="GlobalBatch"/>.</summary>
    public required int LaneCount { get; init; }

    /// <summary>The lanes of this rank, each 0 to V−1 and none twice; batches hold them in this order.</summary>
    public required IReadOnlyList<int> Lanes { get; init; }

    /// <summary>B, images per step over all ranks.</summary>
    public required int GlobalBatch { get; init; }

    /// <summary>The first step to read, 0 or more.</summary>
    public long StartStep { get; init; }

    /// <summary>One recipe per view, 1 to 64 of them; sizes may differ.</summary>
    public required IReadOnlyList<ViewRecipe> Views { get; init; }

    /// <summary>M: neighbouring samples of a lane that are shuffled among themselves. Default 8192.</summary>
    public int BlockSize { get; init; } = 8192;

    /// <summary>Threads that decode and augment, 1 to 256. Default 1. The bytes do not depend on it.</summary>
    public int Workers { get; init; } = 1;

    /// <summary>Batches made ahead of the reader, 1 to 64. Default 2.</summary>
    public int PrefetchBatches { get; init; } = 2;

    /// <summary>Most bytes of decoded small images kept between epochs, 0 to turn it off. Default 128 MiB.</summary>
    public long CacheBytes { get; init; } = 128L << 20;

    /// <summary>How long <see cref="PretrainLoader.ReadAsync"/> waits for a batch before it gives up. Default 60 s.</summary>
    public TimeSpan ReadTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Every problem of the options, each naming the property; empty when they are sound.</summary>
    public IReadOnlyList<string> FindProblems()
    {
        var problems = new List<string>();
        Check(LaneCount >= 1, $"LaneCount is {LaneCount}; it is 1 or more");
        Check(GlobalBatch >= 1, $"GlobalBatch is {GlobalBatch}; it is 1 or more");
        Check(LaneCount < 1 || GlobalBatch % LaneCount == 0,
            $"GlobalBatch {GlobalBatch} is not divisible by LaneCount {LaneCount}; each lane gives equally many samples");
        Check(Lanes.Count >= 1, $"Lanes is empty; a rank reads at least one");
        Check(Lanes.All(lane => lane >= 0 && lane < LaneCount), $"Lanes is [{string.Join(", ", Lanes)}]; each is 0 to {LaneCount - 1}");
        Check(Lanes.Distinct().Count() == Lanes.Count, $"Lanes is [{string.Join(", ", Lanes)}]; none may stand there twice");
        Check(StartStep >= 0, $"StartStep is {StartStep}; it is 0 or more");
        Check(Views.Count is >= 1 and <= 64, $"Views has {Views.Count} recipes; it has 1 to 64");
        Check(BlockSize >= 1, $"BlockSize is {BlockSize}; it is 1 or more");
        Check(Workers is >= 1 and <= 256, $"Workers is {Workers}; it is 1 to 256");
        Check(PrefetchBatches is >= 1 and <= 64, $"PrefetchBatches is {PrefetchBatches}; it is 1 to 64");
        Check(CacheBytes >= 0, $"CacheBytes is {CacheBytes}; it is 0 or more");
        Check(ReadTimeout > TimeSpan.Zero, $"ReadTimeout is {ReadTimeout}; it is above zero");
        for (var view = 0; view < Views.Count; view++)
            problems.AddRange(Views[view].FindProblems().Select(problem => $"Views[{view}].{problem}"));
        return problems;

        void Check(bool sound, FormattableString problem)
        {
            if (!sound)
                problems.Add(FormattableString.Invariant(problem));
        }
    }
}

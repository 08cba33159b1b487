namespace DarkMatter.Trainer.Training;

/// <summary>
/// Steps of a state that were made in one generation. A state carries its newest segments wherever it goes: from them the run's ledger learns of
/// steps whose reports were lost with a trainer, or while the silo was away.
/// </summary>
/// <param name="Generation">The generation.</param>
/// <param name="StartStep">Updates applied before the first of them.</param>
/// <param name="EndStep">Updates applied after the last of them.</param>
/// <param name="SamplesDigest">The wrapping sum of the digests of all images that all ranks used in them.</param>
public sealed record StateSegment(long Generation, long StartStep, long EndStep, ulong SamplesDigest)
{
    /// <summary>Segments that a state keeps; the ledger has heard of older ones.</summary>
    public const int Most = 64;

    /// <summary>The lineage of a state with which a generation begins.</summary>
    public static IReadOnlyList<StateSegment> Begin(IReadOnlyList<StateSegment> lineage, long generation, long step) =>
        [.. lineage.Where(segment => segment.EndStep > segment.StartStep).TakeLast(Most - 1), new StateSegment(generation, step, step, 0)];

    /// <summary>The lineage after one more step.</summary>
    public static IReadOnlyList<StateSegment> Grow(IReadOnlyList<StateSegment> lineage, ulong samples) =>
        [.. lineage.SkipLast(1), lineage[^1] with { EndStep = lineage[^1].EndStep + 1, SamplesDigest = lineage[^1].SamplesDigest + samples }];
}

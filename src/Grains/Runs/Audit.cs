using System.Collections.Immutable;
using DarkMatter.Data;

namespace DarkMatter.Grains;

/// <summary>
/// Proves from a run's ledger which images were committed. Every step of the run was made in one generation, the last that trained it; laid end
/// to end those pieces must cover 0..committed without a gap. The digest that a generation's trainers computed from the images they
/// used must be the one that the order of images gives. Then every image of every finished epoch is counted, one by one. No clock, no storage.
/// </summary>
public static class Audit
{
    /// <summary>Missing images that a report names; the rest are counted.</summary>
    public const int NamedImages = 20;

    /// <summary>Problems that a report names.</summary>
    public const int NamedProblems = 50;

    private const int StepsBetweenProgress = 256;

    /// <summary>Audits a run.</summary>
    /// <param name="ledger">What the silo stored.</param>
    /// <param name="order">The run's order of images, from its recipe and catalog.</param>
    /// <param name="progress">Gets the steps recomputed so far, now and then; null for nobody.</param>
    /// <param name="cancellation">Ends the audit.</param>
    public static AuditReport Check(RunLedger ledger, SampleOrder order, Action<long>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(ledger);
        ArgumentNullException.ThrowIfNull(order);
        var lineage = Lineage.Of(ledger);
        var problems = new List<string>(lineage.Problems);
        if (ledger.Lanes != order.Lanes || ledger.Batch < 1 || ledger.Batch % order.Lanes != 0)
        {
            problems.Add($"the ledger has {ledger.Lanes} lanes and batches of {ledger.Batch}, but the recipe's order has {order.Lanes} lanes");
            return new AuditReport { Verdict = AuditVerdict.Broken, Problems = [.. problems] };
        }

        var images = new ImageCount(order);
        int digests = 0;
        long recomputed = 0;
        var pieces = lineage.Pieces.DistinctBy(piece => piece.Generation).ToDictionary(piece => piece.Generation);
        foreach (var generation in ledger.Generations.Where(g => g.Began))
        {
            var piece = pieces.TryGetValue(generation.Number, out var kept) ? kept : new StepRange(generation.Number, 0, 0);
            // Steps beyond the run's end are a contradiction already; recomputing them could take for ever.
            long last = Math.Min(Math.Max(generation.DigestStep, piece.To), ledger.TotalSteps > 0 ? ledger.TotalSteps : long.MaxValue);
            ulong digest = 0;
            for (long step = generation.StartStep; step < last; step++)
            {
                ulong of = images.Walk(step, ledger.Batch, count: step >= piece.From && step < piece.To);
                digest += step < generation.DigestStep ? of : 0;
                if (++recomputed % StepsBetweenProgress == 0)
                {
                    cancellation.ThrowIfCancellationRequested();
                    progress?.Invoke(recomputed);
                }
            }

            if (generation.DigestStep > generation.StartStep)
            {
                digests++;
                if (digest != generation.SamplesDigest)
                {
                    problems.Add(
                        $"generation {generation.Number} used other images than the run's order has in steps {generation.StartStep} to {generation.DigestStep}: "
                        + $"their digest is {generation.SamplesDigest:x16}, but must be {digest:x16}");
                }
            }
        }

        var finished = images.Close(ledger.Batch, lineage.End);
        problems.AddRange(finished.Problems);
        return new AuditReport
        {
            Verdict = problems.Count > 0 || finished.MissingImages > 0 ? AuditVerdict.Broken
                : lineage.Unproven.IsEmpty ? AuditVerdict.Proven : AuditVerdict.Unproven,
            CommittedSteps = lineage.End,
            FinishedEpochs = finished.Epochs,
            ImagesPerEpoch = order.SampleCount,
            Generations = ledger.Generations.Count,
            DigestsChecked = digests,
            RolledBack = lineage.RolledBack,
            Unproven = lineage.Unproven,
            MissingImages = finished.MissingImages,
            Missing = finished.Missing,
            Quarantined = ledger.Quarantined,
            Problems = [.. problems.Take(NamedProblems)],
        };
    }
}

/// <summary>What an audit concludes.</summary>
public enum AuditVerdict
{
    /// <summary>Every image of every finished epoch was committed exactly once, but for those in quarantine.</summary>
    Proven = 0,

    /// <summary>Nothing contradicts it, but for some steps the ledger has no digest of the images used.</summary>
    Unproven = 1,

    /// <summary>The ledger contradicts itself or the order of images, or images are missing.</summary>
    Broken = 2,
}

/// <summary>Steps <paramref name="From"/> up to, not including, <paramref name="To"/> of a generation.</summary>
/// <param name="Generation">Its number.</param>
/// <param name="From">Updates applied before the first of them.</param>
/// <param name="To">Updates applied after the last of them.</param>
public readonly record struct StepRange(long Generation, long From, long To)
{
    /// <summary>The number of steps.</summary>
    public long Count => To - From;
}

/// <summary>An image in an epoch.</summary>
/// <param name="Epoch">From 0.</param>
/// <param name="Address">Its shard and number.</param>
public readonly record struct EpochImage(long Epoch, SampleAddress Address);

/// <summary>What an audit found.</summary>
public sealed record AuditReport
{
    /// <summary>The conclusion.</summary>
    public required AuditVerdict Verdict { get; init; }

    /// <summary>Steps of the run that some generation committed, from the first without a gap or with the gaps named.</summary>
    public long CommittedSteps { get; init; }

    /// <summary>Epochs of which every position lies below <see cref="CommittedSteps"/>.</summary>
    public long FinishedEpochs { get; init; }

    /// <summary>Images of one epoch.</summary>
    public long ImagesPerEpoch { get; init; }

    /// <summary>Memberships in the ledger.</summary>
    public int Generations { get; init; }

    /// <summary>Digests recomputed and compared.</summary>
    public int DigestsChecked { get; init; }

    /// <summary>Committed steps that were lost with every trainer that had them, and trained again by a later generation.</summary>
    public ImmutableArray<StepRange> RolledBack { get; init; } = [];

    /// <summary>Committed steps without a digest.</summary>
    public ImmutableArray<StepRange> Unproven { get; init; } = [];

    /// <summary>Images of finished epochs that no generation committed.</summary>
    public long MissingImages { get; init; }

    /// <summary>The first of them; at most <see cref="Audit.NamedImages"/>.</summary>
    public ImmutableArray<EpochImage> Missing { get; init; } = [];

    /// <summary>Images that could not be read: the next sound one of the same shard stood in for each.</summary>
    public ImmutableArray<BrokenSample> Quarantined { get; init; } = [];

    /// <summary>Contradictions, for people; at most <see cref="Audit.NamedProblems"/>.</summary>
    public ImmutableArray<string> Problems { get; init; } = [];
}

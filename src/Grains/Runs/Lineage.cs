using System.Collections.Immutable;

namespace DarkMatter.Grains;

/// <summary>
/// Which generation made each step of a run's present state: from the newest generation back to the one whose work it went on with, and so on to
/// the first step. What other generations made is lost: nobody that had it was left, or nobody could reach who had it.
/// </summary>
public sealed record Lineage
{
    /// <summary>In step order; one that was replaced whole is left out.</summary>
    public required ImmutableArray<StepRange> Pieces { get; init; }

    /// <summary>Committed steps that a later generation replaced.</summary>
    public required ImmutableArray<StepRange> RolledBack { get; init; }

    /// <summary>Steps of <see cref="Pieces"/> above their generation's digest.</summary>
    public required ImmutableArray<StepRange> Unproven { get; init; }

    /// <summary>What contradicts itself, for people.</summary>
    public required ImmutableArray<string> Problems { get; init; }

    /// <summary>Updates applied in the newest state.</summary>
    public long End => Pieces.IsEmpty ? 0 : Pieces[^1].To;

    /// <summary>Reads the lineage from a ledger.</summary>
    public static Lineage Of(RunLedger ledger)
    {
        ArgumentNullException.ThrowIfNull(ledger);
        var problems = new List<string>();
        long number = 0;
        foreach (var generation in ledger.Generations)
        {
            problems.AddRange(Contradictions(generation, number, ledger));
            number = Math.Max(number, generation.Number);
        }

        var pieces = new List<StepRange>();
        var began = ledger.Generations.Where(g => g.Began).ToList();
        long end = began.Count == 0 ? 0 : Math.Max(began[^1].StartStep, began[^1].CommittedStep);
        long reached = end;
        for (int i = began.Count - 1; i >= 0; i = Before(began, i))
        {
            if (began[i].StartStep > end)
            {
                problems.Add($"generation {pieces[^1].Generation} went on with generation {began[i].Number} from step {end}, but that one began at step {began[i].StartStep}");
                break;
            }

            if (began[i].CommittedStep < end && pieces.Count > 0)
            {
                problems.Add($"steps {began[i].CommittedStep} to {end} are in no generation: generation {pieces[^1].Generation} began at step {end}");
            }

            pieces.Add(new StepRange(began[i].Number, began[i].StartStep, Math.Max(began[i].StartStep, Math.Min(end, began[i].CommittedStep))));
            end = began[i].StartStep;
        }

        if (end > 0 && pieces[^1].From == end)
        {
            problems.Add($"steps 0 to {end} are in no generation: generation {pieces[^1].Generation} began at step {end}");
        }

        pieces.Reverse();
        var kept = pieces.DistinctBy(piece => piece.Generation).ToDictionary(piece => piece.Generation);
        if (ledger.State == RunState.Completed && (reached != ledger.Step || (ledger.TotalSteps > 0 && reached != ledger.TotalSteps)))
        {
            problems.Add($"the run is completed at step {ledger.Step} of {ledger.TotalSteps}, but its generations end at step {reached}");
        }

        var digests = ledger.Generations.GroupBy(g => g.Number).ToDictionary(g => g.Key, g => g.First().DigestStep);
        return new Lineage
        {
            Pieces = [.. pieces],
            RolledBack =
            [
                .. began.Select(g => new StepRange(g.Number, kept.TryGetValue(g.Number, out var piece) ? piece.To : g.StartStep, g.CommittedStep))
                    .Where(range => range.Count > 0),
            ],
            Unproven = [.. pieces.Select(piece => piece with { From = Math.Max(piece.From, digests[piece.Generation]) }).Where(range => range.Count > 0)],
            Problems = [.. problems],
        };
    }

    // The generation whose work this one went on with; where it does not say, the newest before it that had not begun later.
    private static int Before(List<GenerationRecord> began, int i) => began[i].Parent > 0
        ? began.FindLastIndex(Math.Max(0, i - 1), i, g => g.Number == began[i].Parent)
        : began.FindLastIndex(Math.Max(0, i - 1), i, g => g.StartStep <= began[i].StartStep);

    private static IEnumerable<string> Contradictions(GenerationRecord generation, long newest, RunLedger ledger)
    {
        if (generation.Number <= newest)
        {
            yield return $"generation {generation.Number} comes after generation {newest}: numbers only grow";
        }

        if (generation.Lanes != ledger.Lanes)
        {
            yield return $"generation {generation.Number} has {generation.Lanes} lanes, but the run has {ledger.Lanes}";
        }

        if (generation.StartStep < 0 || generation.CommittedStep < generation.StartStep)
        {
            yield return $"generation {generation.Number} committed step {generation.CommittedStep}, but began at step {generation.StartStep}";
        }

        if (!generation.Began && (generation.CommittedStep > generation.StartStep || generation.DigestStep > generation.StartStep))
        {
            yield return $"generation {generation.Number} never began, but committed steps {generation.StartStep} to {generation.CommittedStep}";
        }

        if (ledger.TotalSteps > 0 && Math.Max(generation.CommittedStep, generation.DigestStep) > ledger.TotalSteps)
        {
            yield return $"generation {generation.Number} reaches step {Math.Max(generation.CommittedStep, generation.DigestStep)}, but the run has {ledger.TotalSteps} steps";
        }
    }
}

using System.Collections.Immutable;

namespace DarkMatter.Grains;

/// <summary>
/// Which generation made each step of a run's present state. A generation that began at step s replaces whatever others had made from s on:
/// those steps were lost with every trainer that had them.
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
        var pieces = new List<StepRange>();
        var lost = new List<StepRange>();
        var problems = new List<string>();
        long number = 0;
        foreach (var generation in ledger.Generations)
        {
            problems.AddRange(Contradictions(generation, number, ledger));
            number = Math.Max(number, generation.Number);
            if (!generation.Began)
            {
                continue;
            }

            while (pieces.Count > 0 && pieces[^1].To > generation.StartStep)
            {
                var piece = pieces[^1];
                long kept = Math.Max(piece.From, generation.StartStep);
                lost.Add(piece with { From = kept });
                pieces.RemoveAt(pieces.Count - 1);
                if (piece.From < kept)
                {
                    pieces.Add(piece with { To = kept });
                }
            }

            pieces.Add(new StepRange(generation.Number, generation.StartStep, Math.Max(generation.StartStep, generation.CommittedStep)));
        }

        long reached = 0;
        foreach (var piece in pieces)
        {
            if (piece.From > reached)
            {
                problems.Add($"steps {reached} to {piece.From} are in no generation: generation {piece.Generation} began at step {piece.From}");
            }

            reached = piece.To;
        }

        if (ledger.State == RunState.Completed && (reached != ledger.Step || (ledger.TotalSteps > 0 && reached != ledger.TotalSteps)))
        {
            problems.Add($"the run is completed at step {ledger.Step} of {ledger.TotalSteps}, but its generations end at step {reached}");
        }

        var digests = ledger.Generations.GroupBy(g => g.Number).ToDictionary(g => g.Key, g => g.First().DigestStep);
        return new Lineage
        {
            Pieces = [.. pieces],
            RolledBack = [.. lost.Where(range => range.Count > 0)],
            Unproven = [.. pieces.Select(piece => piece with { From = Math.Max(piece.From, digests[piece.Generation]) }).Where(range => range.Count > 0)],
            Problems = [.. problems],
        };
    }

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

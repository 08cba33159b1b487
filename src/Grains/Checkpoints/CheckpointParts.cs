using System.Collections.Immutable;

namespace DarkMatter.Grains;

/// <summary>Collects the parts that ranks report of a checkpoint until all are there. <c>CheckpointGrain</c> hosts it.</summary>
public static class CheckpointParts
{
    /// <summary>Unfinished and finished collections that are remembered: ranks of a generation are at most a checkpoint apart.</summary>
    public const int MostCollections = 8;

    /// <summary>Files of one rank.</summary>
    public const int MostFiles = 16;

    /// <summary>Takes in one rank's part.</summary>
    /// <returns>All collections as they are now, and the answer for the rank. Refused: nothing has changed.</returns>
    public static (ImmutableArray<PartCollection> Next, PartAnswer Answer) Add(ImmutableArray<PartCollection> collections, CheckpointPartReport part)
    {
        if (Problem(part) is { } problem)
        {
            return (collections, Refused(Refusal.InvalidArgument, problem));
        }

        var before = collections.FirstOrDefault(c => c.Generation == part.Generation && c.Step == part.Step)
            ?? new PartCollection { Generation = part.Generation, Step = part.Step, Ranks = [.. Enumerable.Repeat(ImmutableArray<CheckpointFileRecord>.Empty, part.World)] };
        if (before.Ranks.Length != part.World)
        {
            return (collections, Refused(
                Refusal.InvalidArgument,
                $"rank {part.Rank} says that step {part.Step} of generation {part.Generation} has parts of {part.World} ranks, others said {before.Ranks.Length}"));
        }

        var mine = before.Ranks[part.Rank];
        if (mine.Length > 0 && !mine.SequenceEqual(part.Files) && before.IsComplete)
        {
            return (collections, Refused(
                Refusal.FailedPrecondition,
                $"rank {part.Rank} reports other files for step {part.Step} of generation {part.Generation} than those it is published with"));
        }

        var now = before with { Ranks = before.Ranks.SetItem(part.Rank, part.Files) };
        var next = collections.Remove(before).Add(now);
        next = next.Length <= MostCollections ? next : next.Remove(next.OrderBy(c => c.Generation).ThenBy(c => c.Step).First());
        return (next, new PartAnswer { Complete = now.IsComplete, Files = now.IsComplete ? [.. now.Ranks.SelectMany(files => files)] : [] });
    }

    private static string? Problem(CheckpointPartReport part) => part switch
    {
        { Step: < 1 } or { Generation: < 1 } => $"a part has a step and a generation of at least 1, but step is {part.Step} and generation {part.Generation}",
        { World: < 1 } => $"a checkpoint has parts of at least 1 rank, but world is {part.World}",
        _ when part.Rank < 0 || part.Rank >= part.World => $"a part is of a rank from 0 to {part.World - 1}, but rank is {part.Rank}",
        { Files: { Length: 0 or > MostFiles } files } => $"a part has 1 to {MostFiles} files, but {files.Length} are given",
        _ => part.Files.FirstOrDefault(file => file.Name.Length == 0 || file.Bytes < 0 || file.Sha256.Length != CheckpointPublication.Sha256HexLength) is { } bad
            ? $"a file has a name, a length and a SHA-256 of {CheckpointPublication.Sha256HexLength} digits, but '{bad.Name}' has {bad.Bytes} bytes and '{bad.Sha256}'"
            : null,
    };

    private static PartAnswer Refused(Refusal refusal, string message) => new() { Refusal = refusal, Message = message };
}

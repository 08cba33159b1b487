using System.Collections.Immutable;
using DarkMatter.Grains;

namespace DarkMatter.Silo;

/// <summary>
/// Reads a run's ledger from a silo's state folder without a silo. Every file there is replaced by a rename, so this may be done while a silo
/// owns the folder: what is read was durable at some moment.
/// </summary>
public static class StoredLedger
{
    /// <summary>The ledger of a run; null when the folder knows no such run.</summary>
    /// <param name="stateDirectory">What the silo was given as its state folder.</param>
    /// <param name="run">The run's name.</param>
    /// <exception cref="InvalidDataException">A file is damaged; the message names it and says what to do.</exception>
    public static RunLedger? Read(string stateDirectory, string run)
    {
        ArgumentException.ThrowIfNullOrEmpty(stateDirectory);
        ArgumentException.ThrowIfNullOrEmpty(run);
        string grains = Path.Combine(stateDirectory, "grains");
        if (FileGrainStorage.Peek<RunRecord>(FileGrainStorage.PathIn(grains, "run", "run", run)) is not { } record)
        {
            return null;
        }

        // Read after the record: what is sealed meanwhile is in both, and counts once.
        var older = FileGrainStorage.Peek<SealedGenerations>(FileGrainStorage.PathIn(grains, "ledger", "run", run)) ?? new SealedGenerations();
        return RunLedger.Of(run, record with { Generations = Run.WholeLedger(older.Generations, record.Generations) }, Quarantined(grains, run));
    }

    /// <summary>The names of the runs that the folder knows.</summary>
    public static IReadOnlyList<string> Runs(string stateDirectory)
    {
        string folder = Path.Combine(stateDirectory, "grains", "run", "run");
        return Directory.Exists(folder)
            ? [.. Directory.EnumerateFiles(folder, "*.json").Select(file => Uri.UnescapeDataString(Path.GetFileNameWithoutExtension(file))).Order(StringComparer.Ordinal)]
            : [];
    }

    private static ImmutableArray<BrokenSample> Quarantined(string grains, string run)
    {
        string folder = Path.GetDirectoryName(FileGrainStorage.PathIn(grains, "shards", "shardrange", run))!;
        return Directory.Exists(folder)
            ? [.. Directory.EnumerateFiles(folder, FileGrainStorage.Safe(run + "/") + "*.json").Order(StringComparer.Ordinal)
                .SelectMany(file => FileGrainStorage.Peek<ShardRangeRecord>(file)?.Quarantined ?? [])]
            : [];
    }
}

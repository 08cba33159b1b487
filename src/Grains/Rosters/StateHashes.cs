namespace DarkMatter.Grains;

/// <summary>Compares the ranks' states: after the same step all have the same hash. Remembers a bounded number of open steps.</summary>
public sealed class StateHashes(int world)
{
    /// <summary>Steps that may wait for slower ranks; older ones are given up.</summary>
    public const int MaxOpenSteps = 64;

    private readonly SortedDictionary<long, string?[]> _open = [];

    /// <summary>The newest step on which all ranks agreed; 0 for none.</summary>
    public long AgreedStep { get; private set; }

    /// <summary>Takes a hash in; the answer names step and ranks when two ranks differ, and is null while they do not.</summary>
    public string? Add(int rank, StateHash hash)
    {
        if (hash.Step <= AgreedStep)
        {
            return null;
        }

        if (!_open.TryGetValue(hash.Step, out string?[]? ranks))
        {
            _open.Add(hash.Step, ranks = new string?[world]);
            if (_open.Count > MaxOpenSteps)
            {
                _open.Remove(_open.Keys.First());
            }
        }

        ranks[rank] = hash.Hash;
        for (int other = 0; other < world; other++)
        {
            if (ranks[other] is { } theirs && theirs != hash.Hash)
            {
                return Difference(hash.Step, ranks);
            }
        }

        if (Array.TrueForAll(ranks, r => r is not null))
        {
            AgreedStep = hash.Step;
            foreach (long step in _open.Keys.Where(s => s <= hash.Step).ToArray())
            {
                _open.Remove(step);
            }
        }

        return null;
    }

    private static string Difference(long step, string?[] ranks)
    {
        var groups = ranks.Select((hash, rank) => (hash, rank)).Where(r => r.hash is not null).GroupBy(r => r.hash, r => r.rank);
        string sides = string.Join(
            " but ", groups.Select(g => $"{(g.Count() == 1 ? "rank " : "ranks ")}{string.Join(", ", g)} {(g.Count() == 1 ? "has" : "have")} {g.Key}"));
        return $"The trainers' states differ after step {step}: {sides}. Their parameters, buffers or optimizer memory are no longer equal, "
            + "so nothing after the last equal step can be trusted.";
    }
}

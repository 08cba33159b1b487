namespace DarkMatter.Trainer.Recipes;

/// <summary>Finds the known name a misspelled one was probably meant to be.</summary>
public static class NearestName
{
    /// <summary>
    /// The candidate with the fewest edits (insert, delete, replace, swap of neighbours) from <paramref name="name"/>, ignoring case and
    /// the difference between <c>-</c> and <c>_</c>; the first of equals. Null when none is near: more edits than a third of the
    /// longer name, and neither begins with the other.
    /// </summary>
    public static string? Find(string name, IEnumerable<string> candidates)
    {
        string? best = null;
        var bestDistance = int.MaxValue;
        var wanted = Normalize(name);
        foreach (var candidate in candidates)
        {
            var known = Normalize(candidate);
            var distance = Distance(wanted, known);
            var prefix = wanted.Length >= 2 && (known.StartsWith(wanted, StringComparison.Ordinal) || wanted.StartsWith(known, StringComparison.Ordinal));
            var near = prefix || distance <= Math.Max(1, Math.Max(wanted.Length, known.Length) / 3);
            if (near && distance < bestDistance)
            {
                (best, bestDistance) = (candidate, distance);
            }
        }
        return best;
    }

    /// <summary>Edits between two words: Damerau–Levenshtein, optimal string alignment variant.</summary>
    public static int Distance(string a, string b)
    {
        var rows = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
        {
            rows[i, 0] = i;
        }
        for (var j = 0; j <= b.Length; j++)
        {
            rows[0, j] = j;
        }
        for (var i = 1; i <= a.Length; i++)
        {
            for (var j = 1; j <= b.Length; j++)
            {
                var cost = a[i - 1] == b[j - 1] ? 0 : 1;
                var edits = Math.Min(Math.Min(rows[i - 1, j] + 1, rows[i, j - 1] + 1), rows[i - 1, j - 1] + cost);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    edits = Math.Min(edits, rows[i - 2, j - 2] + 1);
                }
                rows[i, j] = edits;
            }
        }
        return rows[a.Length, b.Length];
    }

    private static string Normalize(string name) => name.Replace('-', '_').ToUpperInvariant();
}

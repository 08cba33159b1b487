namespace DarkMatter.Grains;

/// <summary>Names the keys in which two resolved recipes differ. Resolved recipes are YAML of one key a line in canonical order.</summary>
public static class RecipeComparison
{
    /// <summary>Dotted paths of keys that are in one recipe only or differ in value, in order of appearance.</summary>
    public static IReadOnlyList<string> ChangedKeys(string before, string after)
    {
        var old = Read(before);
        var now = Read(after);
        return [.. old.Keys.Concat(now.Keys).Distinct(StringComparer.Ordinal)
            .Where(key => !old.TryGetValue(key, out string? was) || !now.TryGetValue(key, out string? value) || was != value)];
    }

    private static Dictionary<string, string> Read(string yaml)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        var parents = new List<(int Indent, string Key)>();
        foreach (string line in yaml.Split('\n'))
        {
            string text = line.TrimEnd();
            string trimmed = text.TrimStart();
            if (trimmed.Length == 0 || trimmed[0] == '#')
            {
                continue;
            }

            int indent = text.Length - trimmed.Length;
            parents.RemoveAll(parent => parent.Indent >= indent);
            int colon = trimmed.IndexOf(':', StringComparison.Ordinal);
            string key = colon < 0 ? trimmed : trimmed[..colon];
            string path = string.Join('.', parents.Select(parent => parent.Key).Append(key));
            string value = colon < 0 ? "" : trimmed[(colon + 1)..].Trim();
            if (value.Length == 0)
            {
                parents.Add((indent, key));
            }

            // Items of lists share a path: they are compared together.
            values[path] = values.TryGetValue(path, out string? before) ? $"{before}\n{value}" : value;
        }

        return values;
    }
}

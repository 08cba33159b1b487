namespace DarkMatter.Data;

/// <summary>WebDataset's naming: everything up to the first dot of the base name is the sample's key, the rest the member's suffix.</summary>
public static class SampleName
{
    /// <summary>Splits a member's name; false for names that belong to no sample: no dot, a leading dot, or a part like <c>__meta__</c>.</summary>
    public static bool TrySplit(string name, out string key, out string suffix)
    {
        ArgumentNullException.ThrowIfNull(name);
        key = suffix = "";
        var start = name.StartsWith("./", StringComparison.Ordinal) ? 2 : 0;
        var slash = name.LastIndexOf('/');
        var dot = name.IndexOf('.', Math.Max(start, slash + 1));
        if (dot <= Math.Max(start, slash + 1) || dot == name.Length - 1 || name.Split('/').Any(IsMeta))
            return false;
        key = name[start..dot];
        suffix = name[(dot + 1)..].ToLowerInvariant();
        return true;
    }

    /// <summary>Whether a suffix names an image that is read: jpg, jpeg, png or webp, also after further dots.</summary>
    public static bool IsImage(string suffix)
    {
        ArgumentNullException.ThrowIfNull(suffix);
        return suffix[(suffix.LastIndexOf('.') + 1)..] is "jpg" or "jpeg" or "png" or "webp";
    }

    /// <summary>The key for a file of a folder: its relative path without the extension, without dots in the base name.</summary>
    internal static string KeyForFile(string relativePath)
    {
        var slash = relativePath.LastIndexOf('/');
        var dot = relativePath.LastIndexOf('.');
        var stem = dot > slash ? relativePath[..dot] : relativePath;
        var parts = string.Concat(stem.AsSpan(0, slash + 1), stem[(slash + 1)..].Replace('.', '_')).Split('/');
        for (var i = 0; i < parts.Length; i++)
        {
            if (IsMeta(parts[i]) || parts[i].Length == 0)
                parts[i] = "x" + parts[i];
        }

        return string.Join('/', parts);
    }

    private static bool IsMeta(string part) =>
        part.Length >= 4 && part.StartsWith("__", StringComparison.Ordinal) && part.EndsWith("__", StringComparison.Ordinal);
}

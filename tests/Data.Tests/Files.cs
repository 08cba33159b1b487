using System.Runtime.CompilerServices;

namespace DarkMatter.Data.Tests;

/// <summary>The committed files, and a temporary folder that goes away with the test.</summary>
internal static class Files
{
    public static string Reference(string name) => Path.Combine(AppContext.BaseDirectory, "Reference", name);

    public static byte[] Image(string name) => File.ReadAllBytes(Reference($"images/{name}"));

    public static string Bad(string name) => Path.Combine(AppContext.BaseDirectory, "BadInputs", name);

    /// <summary>The attacks of a folder of BadInputs, each with a part of its expected message.</summary>
    public static TheoryData<string, string> BadInputs(string folder)
    {
        var data = new TheoryData<string, string>();
        foreach (var line in File.ReadAllLines(Bad("expected.tsv")).Where(line => line.StartsWith(folder + "/", StringComparison.Ordinal)))
            data.Add(line.Split('\t')[0], line.Split('\t')[1]);
        return data;
    }

    /// <summary>The contents of a folder by name: equal dictionaries are equal datasets.</summary>
    public static SortedDictionary<string, string> Contents(string folder) =>
        new(Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).ToDictionary(
            file => Path.GetRelativePath(folder, file), file => Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(file)))), StringComparer.Ordinal);
}

/// <summary>A temporary folder.</summary>
internal sealed class Scratch : IDisposable
{
    public Scratch([CallerMemberName] string test = "") => Root = Directory.CreateTempSubdirectory($"darkmatter-{test}-").FullName;

    public string Root { get; }

    public string this[string name] => Path.Combine(Root, name);

    /// <summary>Writes a file below the folder.</summary>
    public string Write(string name, ReadOnlySpan<byte> bytes)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(this[name])!);
        File.WriteAllBytes(this[name], bytes);
        return this[name];
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}

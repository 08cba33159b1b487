using System.Globalization;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>Checkpoints of a run that lie on this machine: <c>&lt;run directory&gt;/checkpoints/&lt;step&gt;/</c>.</summary>
public static class CheckpointFolder
{
    /// <summary>The manifest's file name.</summary>
    public const string ManifestName = CheckpointNames.Manifest;

    /// <summary>The networks' file when one rank wrote all.</summary>
    public const string ModelName = "model.safetensors";

    /// <summary>The recipe's file.</summary>
    public const string RecipeName = "recipe.yaml";

    /// <summary>Opens the checkpoints of a run's folder.</summary>
    public static CheckpointStore Store(string runDirectory) => new(new FolderBlobs(Root(runDirectory)));

    /// <summary>The folder of a step.</summary>
    public static string Of(string runDirectory, long step) =>
        Path.Combine(Root(runDirectory), step.ToString(CultureInfo.InvariantCulture));

    /// <summary>The folders of all published checkpoints, oldest first. Unfinished ones have no manifest and are not among them.</summary>
    public static IReadOnlyList<(long Step, string Path)> All(string runDirectory)
    {
        if (!Directory.Exists(Root(runDirectory)))
            return [];
        return [.. Directory.EnumerateDirectories(Root(runDirectory))
            .Select(path => (Known: long.TryParse(Path.GetFileName(path), NumberStyles.None, CultureInfo.InvariantCulture, out var step), step, path))
            .Where(c => c.Known && File.Exists(Path.Combine(c.path, ManifestName)))
            .Select(c => (c.step, c.path))
            .OrderBy(c => c.step)];
    }

    /// <summary>The newest checkpoint, or null when there is none.</summary>
    public static string? Latest(string runDirectory) => All(runDirectory) is { Count: > 0 } all ? all[^1].Path : null;

    /// <summary>Reads the manifest and checks every file's presence, length and SHA-256.</summary>
    /// <exception cref="CheckpointException">Something is missing, changed, or from a newer program.</exception>
    public static CheckpointManifest Verify(string path)
    {
        using var checkpoint = Open(path);
        return checkpoint.Manifest;
    }

    /// <summary>Verifies a checkpoint's folder, wherever it lies, and opens it.</summary>
    /// <exception cref="CheckpointException">Something is missing, changed, or from a newer program.</exception>
    public static OpenCheckpoint Open(string path)
    {
        // A folder's blobs are read without waiting: the task is complete.
        using var blobs = Beside(path, out var name);
        return OpenCheckpoint.OpenAsync(blobs, name, CancellationToken.None).GetAwaiter().GetResult();
    }

    /// <summary>Reads the manifest alone.</summary>
    /// <exception cref="CheckpointException">It is missing, damaged, or from a newer program.</exception>
    public static CheckpointManifest ReadManifest(string path)
    {
        using var blobs = Beside(path, out var name);
        return CheckpointContents.ReadManifestAsync(blobs, name, CancellationToken.None).GetAwaiter().GetResult();
    }

    internal static string Root(string runDirectory) => Path.Combine(runDirectory, "checkpoints");

    private static FolderBlobs Beside(string path, out string name)
    {
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        name = Path.GetFileName(full);
        return new FolderBlobs(Path.GetDirectoryName(full) ?? full);
    }
}

using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>Where checkpoints lie and whether they are whole: <c>&lt;run directory&gt;/checkpoints/&lt;step&gt;/</c>.</summary>
public static partial class CheckpointFolder
{
    /// <summary>The manifest's file name.</summary>
    public const string ManifestName = "manifest.json";

    /// <summary>Parameters and buffers of the networks.</summary>
    public const string ModelName = "model.safetensors";

    /// <summary>The optimizer's memory.</summary>
    public const string OptimizerName = "optimizer.safetensors";

    /// <summary>The resolved recipe.</summary>
    public const string RecipeName = "recipe.yaml";

    /// <summary>The folder of a step.</summary>
    public static string Of(string runDirectory, long step) =>
        Path.Combine(Root(runDirectory), step.ToString(CultureInfo.InvariantCulture));

    /// <summary>The folders of all published checkpoints, oldest first. Unfinished ones have other names and are not among them.</summary>
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
        var manifest = ReadManifest(path);
        foreach (var file in manifest.Files)
        {
            var full = Path.Combine(path, file.Name);
            if (file.Name != Path.GetFileName(file.Name))
                throw Bad(path, $"its manifest names '{file.Name}', which is not a plain file name");
            if (!File.Exists(full))
                throw Bad(path, $"{file.Name} is missing");
            using var stream = File.OpenRead(full);
            if (stream.Length != file.Bytes)
                throw Bad(path, $"{file.Name} has {stream.Length} bytes instead of {file.Bytes}");
            if (Convert.ToHexStringLower(SHA256.HashData(stream)) != file.Sha256)
                throw Bad(path, $"{file.Name} is not what was written: its SHA-256 differs from the manifest's");
        }

        foreach (var needed in (string[])[ModelName, OptimizerName, RecipeName])
        {
            if (!manifest.Files.Any(f => f.Name == needed))
                throw Bad(path, $"its manifest does not list {needed}");
        }

        return manifest;
    }

    /// <summary>Reads the manifest alone.</summary>
    /// <exception cref="CheckpointException">It is missing, damaged, or from a newer program.</exception>
    public static CheckpointManifest ReadManifest(string path)
    {
        var file = Path.Combine(path, ManifestName);
        if (!File.Exists(file))
            throw Bad(path, Directory.Exists(path) ? $"{ManifestName} is missing" : "there is no such folder");
        try
        {
            var manifest = JsonSerializer.Deserialize(File.ReadAllBytes(file), CheckpointJson.Default.CheckpointManifest)
                ?? throw new JsonException("it is null");
            return manifest.Format <= CheckpointManifest.CurrentFormat
                ? manifest
                : throw new CheckpointException($"checkpoint '{path}': it has format {manifest.Format} and this program reads up to {CheckpointManifest.CurrentFormat}; use the program that wrote it, or a newer one");
        }
        catch (JsonException e)
        {
            throw Bad(path, $"{ManifestName} is damaged: {e.Message}", e);
        }
    }

    /// <summary>Makes a rename in a directory durable.</summary>
    internal static void FlushDirectory(string path)
    {
        if (!OperatingSystem.IsLinux())
            return;
        var descriptor = Native.Open(path, 0);
        if (descriptor < 0)
            throw new IOException($"cannot open folder '{path}' to flush it: error {Marshal.GetLastPInvokeError()}");
        try
        {
            if (Native.Fsync(descriptor) != 0)
                throw new IOException($"cannot flush folder '{path}' to disk: error {Marshal.GetLastPInvokeError()}");
        }
        finally
        {
            _ = Native.Close(descriptor);
        }
    }

    internal static string Root(string runDirectory) => Path.Combine(runDirectory, "checkpoints");

    internal static CheckpointException Bad(string path, string what, Exception? inner = null) =>
        new($"checkpoint '{path}': {what}; resume from an older checkpoint of the run, or copy this one again", inner);

    private static partial class Native
    {
        [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
        internal static partial int Open(string path, int flags);

        [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
        internal static partial int Fsync(int descriptor);

        [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
        internal static partial int Close(int descriptor);
    }
}

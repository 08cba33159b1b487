using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>A checkpoint that became visible.</summary>
/// <param name="Step">Updates applied.</param>
/// <param name="Path">Its folder.</param>
/// <param name="ManifestSha256">SHA-256 of its manifest.</param>
/// <param name="Captured">Time the training thread was held up by copying.</param>
/// <param name="Written">Time the background took to write it.</param>
public sealed record WrittenCheckpoint(long Step, string Path, byte[] ManifestSha256, TimeSpan Captured, TimeSpan Written);

/// <summary>
/// Writes checkpoints while training goes on: the training thread only copies memory, one background task writes. A checkpoint is
/// written under another name, flushed to the disk and then renamed, so it is visible only when whole. At most one is in flight.
/// </summary>
/// <param name="runDirectory">Gets <c>checkpoints/&lt;step&gt;/</c>.</param>
/// <param name="kept">How many published checkpoints stay, 1 and above.</param>
/// <param name="model">The networks.</param>
/// <param name="optimizer">The optimizer's memory.</param>
/// <param name="recipe">The resolved recipe's text.</param>
/// <param name="versions">Who writes.</param>
/// <param name="published">Called in the background once a checkpoint is visible; what it throws, <see cref="Complete"/> throws.</param>
public sealed class CheckpointWriter(
    string runDirectory, int kept, TensorSet model, TensorSet optimizer, string recipe,
    IReadOnlyDictionary<string, string> versions, Func<WrittenCheckpoint, Task> published)
{
    /// <summary>How long a checkpoint may take to write before that is an error.</summary>
    public static readonly TimeSpan WriteDeadline = TimeSpan.FromMinutes(10);

    private Task _writing = Task.CompletedTask;

    /// <summary>The folder of the newest checkpoint this writer published.</summary>
    public string? LatestPath { get; private set; }

    /// <summary>Copies the state and starts to write it. Waits for the checkpoint before it, if that is still being written.</summary>
    /// <exception cref="CheckpointException">The one before could not be written.</exception>
    public void Save(TrainingProgress progress)
    {
        Complete();
        var start = Stopwatch.GetTimestamp();
        var (modelItems, optimizerItems) = (model.Capture(), optimizer.Capture());
        var captured = Stopwatch.GetElapsedTime(start);
        _writing = Task.Run(() => WriteAsync(progress, modelItems, optimizerItems, captured));
    }

    /// <summary>Waits until the checkpoint in flight is published. Whatever went wrong with it is thrown here, once and as it was.</summary>
    /// <exception cref="CheckpointException">It could not be written, or took longer than <see cref="WriteDeadline"/>.</exception>
    public void Complete()
    {
        var writing = _writing;
        if (Task.WaitAny([writing], WriteDeadline) < 0)
            throw new CheckpointException($"a checkpoint of '{runDirectory}' was not written within {WriteDeadline.TotalMinutes} minutes; the disk is too slow or hangs");
        _writing = Task.CompletedTask;
        writing.GetAwaiter().GetResult();
    }

    private async Task WriteAsync(
        TrainingProgress progress, IReadOnlyList<SafetensorsItem> modelItems, IReadOnlyList<SafetensorsItem> optimizerItems, TimeSpan captured)
    {
        var start = Stopwatch.GetTimestamp();
        var root = CheckpointFolder.Root(runDirectory);
        var path = CheckpointFolder.Of(runDirectory, progress.Step);
        var temporary = Path.Combine(root, $".{progress.Step}.{Guid.NewGuid():N}.tmp");
        try
        {
            Directory.CreateDirectory(temporary);
            List<CheckpointFile> files =
            [
                WriteTensors(temporary, CheckpointFolder.ModelName, modelItems),
                WriteTensors(temporary, CheckpointFolder.OptimizerName, optimizerItems),
                WriteText(temporary, CheckpointFolder.RecipeName, Encoding.UTF8.GetBytes(recipe)),
            ];
            var manifest = new CheckpointManifest { Format = CheckpointManifest.CurrentFormat, Progress = progress, Files = files, Versions = versions };
            var json = JsonSerializer.SerializeToUtf8Bytes(manifest, CheckpointJson.Default.CheckpointManifest);
            WriteText(temporary, CheckpointFolder.ManifestName, json);
            CheckpointFolder.FlushDirectory(temporary);
            Replace(temporary, path, root);
            LatestPath = path;
            Prune(progress.Step);
            await published(new WrittenCheckpoint(progress.Step, path, SHA256.HashData(json), captured, Stopwatch.GetElapsedTime(start)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            TryDelete(temporary);
            throw new CheckpointException($"checkpoint of step {progress.Step} could not be written to '{path}': {e.Message} Free space or choose another directory; older checkpoints are untouched.", e);
        }
    }

    private static CheckpointFile WriteTensors(string folder, string name, IReadOnlyList<SafetensorsItem> items)
    {
        var (bytes, sha256) = SafetensorsWriter.Write(Path.Combine(folder, name), items, new Dictionary<string, string> { ["format"] = "pt" });
        return new CheckpointFile(name, bytes, Convert.ToHexStringLower(sha256));
    }

    private static CheckpointFile WriteText(string folder, string name, byte[] content)
    {
        using var file = new FileStream(Path.Combine(folder, name), FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        file.Write(content);
        file.Flush(flushToDisk: true);
        return new CheckpointFile(name, content.Length, Convert.ToHexStringLower(SHA256.HashData(content)));
    }

    /// <summary>Puts the finished folder in its place. One of the same step, from before a resume, makes room first.</summary>
    private static void Replace(string temporary, string path, string root)
    {
        string? old = null;
        if (Directory.Exists(path))
            Directory.Move(path, old = temporary + ".old");
        Directory.Move(temporary, path);
        CheckpointFolder.FlushDirectory(root);
        if (old is not null)
            TryDelete(old);
    }

    private void Prune(long newest)
    {
        var older = CheckpointFolder.All(runDirectory).Where(c => c.Step <= newest).ToList();
        foreach (var (_, path) in older.Take(older.Count - kept))
            TryDelete(path);
    }

    /// <summary>What cannot be deleted now only takes space: it is no reason to lose the run.</summary>
    private static void TryDelete(string path)
    {
        try
        {
            Directory.Delete(path, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Trace.TraceWarning($"Could not delete '{path}': {e.Message}");
        }
    }

    /// <summary>What this program and its libraries are.</summary>
    public static IReadOnlyDictionary<string, string> Versions(string stack) => new Dictionary<string, string>
    {
        ["darkmatter"] = typeof(CheckpointWriter).Assembly.GetName().Version?.ToString(3) ?? "unknown",
        ["runtime"] = RuntimeInformation.FrameworkDescription,
        ["tensors"] = stack,
    };
}

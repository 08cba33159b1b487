using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>A checkpoint that is visible.</summary>
/// <param name="Step">Updates applied.</param>
/// <param name="Path">Where it lies: a folder or a URL.</param>
public sealed record CheckpointEntry(long Step, string Path);

/// <summary>
/// The checkpoints of one run: <c>&lt;step&gt;/manifest.json</c> and the files it names. Files are written under names that were free;
/// a checkpoint becomes visible by the one conditional write of its manifest, and disappears with it. Thread-safe.
/// </summary>
/// <param name="blobs">Where they lie; freed with the store.</param>
public sealed class CheckpointStore(ICheckpointBlobs blobs) : IDisposable
{
    private const int PublishAttempts = 5;
    private const int NameAttempts = 1000;

    /// <summary>Where the checkpoints lie, for people.</summary>
    public string Location => blobs.Location;

    /// <summary>Where the blobs are.</summary>
    public ICheckpointBlobs Blobs => blobs;

    /// <summary>Where the checkpoint of a step lies: what the ledger records.</summary>
    public string PathOf(long step) => CheckpointContents.PathOf(blobs, FolderOf(step));

    /// <summary>Writes one file of a checkpoint that is not visible yet.</summary>
    /// <param name="step">Its step.</param>
    /// <param name="kind">What the file holds.</param>
    /// <param name="rank">Who writes it.</param>
    /// <param name="world">How many ranks write.</param>
    /// <param name="content">The bytes; they must not change meanwhile.</param>
    /// <param name="cancellationToken">Ends the attempt; what was written of it is not visible.</param>
    /// <exception cref="IOException">The place is full or cannot be reached.</exception>
    public async Task<CheckpointFile> WriteAsync(
        long step, CheckpointKind kind, int rank, int world, ReadOnlySequence<byte> content, CancellationToken cancellationToken)
    {
        using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var segment in content)
            sha.AppendData(segment.Span);
        var hash = Convert.ToHexStringLower(sha.GetHashAndReset());
        for (var attempt = 1; attempt <= NameAttempts; attempt++)
        {
            var file = CheckpointNames.Of(kind, rank, world, attempt);
            var name = $"{FolderOf(step)}/{file}";
            if (await blobs.FindAsync(name, cancellationToken) is null && await blobs.PutAsync(name, content, replaces: null, cancellationToken))
                return new CheckpointFile(file, content.Length, hash);
        }

        throw new IOException($"'{PathOf(step)}' has {NameAttempts} files like {CheckpointNames.Of(kind, rank, world)}; something writes this step again and again. Delete the folder.");
    }

    /// <summary>
    /// Makes a checkpoint visible, if no other one of its step is. One that an older generation wrote, or whose manifest is damaged, gives
    /// way; one of the same generation stays and is returned instead: of two publishers of one step, one wins.
    /// </summary>
    /// <exception cref="CheckpointException">A newer generation, or a newer program, has published this step.</exception>
    /// <exception cref="IOException">The place is full or cannot be reached.</exception>
    public async Task<PublishedCheckpoint> PublishAsync(CheckpointManifest manifest, CancellationToken cancellationToken)
    {
        var (step, folder) = (manifest.Progress.Step, FolderOf(manifest.Progress.Step));
        var name = $"{folder}/{CheckpointNames.Manifest}";
        var json = JsonSerializer.SerializeToUtf8Bytes(manifest, CheckpointJson.Default.CheckpointManifest);
        for (var attempt = 1; attempt <= PublishAttempts; attempt++)
        {
            if (await blobs.PutAsync(name, new ReadOnlySequence<byte>(json), replaces: null, cancellationToken))
                return new PublishedCheckpoint(step, PathOf(step), SHA256.HashData(json));
            if (await blobs.FindAsync(name, cancellationToken) is not { } there)
                continue;
            var (existing, existingJson) = await TryReadAsync(folder, cancellationToken);
            if (existing is not null && (existing.Generation == manifest.Generation || SameFiles(existing, manifest)))
            {
                if (!SameFiles(existing, manifest))
                    await DiscardAsync(step, manifest.Files, cancellationToken);
                return new PublishedCheckpoint(step, PathOf(step), SHA256.HashData(existingJson));
            }

            if (existing?.Generation > manifest.Generation)
                throw new CheckpointException($"checkpoint '{PathOf(step)}': generation {existing.Generation} has published step {step} already, and this is generation {manifest.Generation}; it is over, and what it wrote does not count");
            if (await blobs.PutAsync(name, new ReadOnlySequence<byte>(json), there.Tag, cancellationToken))
            {
                await DiscardAsync(step, existing?.Files.Where(f => manifest.Files.All(ours => ours.Name != f.Name)) ?? [], cancellationToken);
                return new PublishedCheckpoint(step, PathOf(step), SHA256.HashData(json));
            }
        }

        throw new CheckpointException($"checkpoint '{PathOf(step)}': its manifest was written by others {PublishAttempts} times meanwhile; more than one run writes here. Give each run its own name or prefix.");
    }

    /// <summary>The visible checkpoints, oldest first.</summary>
    /// <exception cref="IOException">The place cannot be reached.</exception>
    public async Task<IReadOnlyList<CheckpointEntry>> ListAsync(CancellationToken cancellationToken) =>
        [.. (await ListBlobsAsync("", cancellationToken)).Where(b => b.File == CheckpointNames.Manifest).Select(b => b.Step).Order().Select(step => new CheckpointEntry(step, PathOf(step)))];

    /// <summary>Reads a manifest alone.</summary>
    /// <exception cref="CheckpointException">It is missing, damaged, or from a newer program.</exception>
    /// <exception cref="IOException">The place cannot be reached.</exception>
    public Task<CheckpointManifest> ReadManifestAsync(long step, CancellationToken cancellationToken) =>
        CheckpointContents.ReadManifestAsync(blobs, FolderOf(step), cancellationToken);

    /// <summary>Reads the manifest and checks every file's presence, length and SHA-256.</summary>
    /// <exception cref="CheckpointException">Something is missing, changed, or from a newer program.</exception>
    /// <exception cref="IOException">The place cannot be reached.</exception>
    public Task<CheckpointManifest> VerifyAsync(long step, CancellationToken cancellationToken) =>
        CheckpointContents.VerifyAsync(blobs, FolderOf(step), copyTo: null, cancellationToken);

    /// <summary>
    /// Verifies a checkpoint and makes its files readable here: where they lie, or as copies that are deleted on disposal. <c>progressed</c> is
    /// called whenever some bytes have come.
    /// </summary>
    /// <exception cref="CheckpointException">Something is missing, changed, or from a newer program.</exception>
    /// <exception cref="IOException">The place cannot be reached, or there is no room for the copies.</exception>
    public Task<OpenCheckpoint> OpenAsync(long step, CancellationToken cancellationToken, Action? progressed = null) =>
        OpenCheckpoint.OpenAsync(blobs, FolderOf(step), cancellationToken, progressed);

    /// <summary>Opens the newest checkpoint that is whole; null when there is none.</summary>
    /// <param name="note">Told of each one that is passed over, and why.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <exception cref="IOException">The place cannot be reached.</exception>
    public Task<OpenCheckpoint?> OpenNewestWholeAsync(Action<string> note, CancellationToken cancellationToken) =>
        NewestAsync(step => OpenAsync(step, cancellationToken), note, cancellationToken);

    /// <summary>The newest checkpoint that is whole, without making its files readable here; null when there is none.</summary>
    /// <param name="note">Told of each one that is passed over, and why.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <exception cref="IOException">The place cannot be reached.</exception>
    public Task<CheckpointManifest?> FindNewestWholeAsync(Action<string> note, CancellationToken cancellationToken) =>
        NewestAsync(step => VerifyAsync(step, cancellationToken), note, cancellationToken);
    /// <summary>
    /// Deletes what <paramref name="retention"/> lets go, and what attempts that came to nothing have left behind, after
    /// <paramref name="newest"/> was published.
    /// </summary>
    /// <exception cref="IOException">The place cannot be reached.</exception>
    public async Task CollectAsync(CheckpointManifest newest, CheckpointRetention retention, CancellationToken cancellationToken)
    {
        var all = await ListBlobsAsync("", cancellationToken);
        var visible = all.Where(b => b.File == CheckpointNames.Manifest).Select(b => b.Step).ToHashSet();
        var later = new Dictionary<long, long?>();
        foreach (var step in visible.Where(s => s > newest.Progress.Step))
            later[step] = (await TryReadAsync(FolderOf(step), cancellationToken)).Manifest?.Generation;
        foreach (var step in retention.Expired(visible, newest.Progress.Step, newest.Generation, s => later.GetValueOrDefault(s)))
        {
            await DeleteAsync(step, cancellationToken);
            visible.Remove(step);
        }

        var named = newest.Files.Select(f => f.Name).Append(CheckpointNames.Manifest).ToHashSet(StringComparer.Ordinal);
        foreach (var left in all.Where(b => b.Step < newest.Progress.Step ? !visible.Contains(b.Step) : b.Step == newest.Progress.Step && !named.Contains(b.File)))
            await blobs.DeleteAsync(left.Name, cancellationToken);
    }

    /// <summary>Deletes a checkpoint: first what makes it visible, then the rest.</summary>
    /// <exception cref="IOException">The place cannot be reached.</exception>
    public async Task DeleteAsync(long step, CancellationToken cancellationToken)
    {
        await blobs.DeleteAsync($"{FolderOf(step)}/{CheckpointNames.Manifest}", cancellationToken);
        foreach (var blob in await ListBlobsAsync(FolderOf(step) + "/", cancellationToken))
            await blobs.DeleteAsync(blob.Name, cancellationToken);
    }

    /// <summary>Deletes a checkpoint that was just published, unless another has taken its place.</summary>
    /// <exception cref="IOException">The place cannot be reached.</exception>
    public async Task WithdrawAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken)
    {
        var json = await CheckpointContents.ReadSmallAsync(blobs, $"{FolderOf(checkpoint.Step)}/{CheckpointNames.Manifest}", cancellationToken);
        if (json is not null && SHA256.HashData(json).AsSpan().SequenceEqual(checkpoint.ManifestSha256))
            await DeleteAsync(checkpoint.Step, cancellationToken);
    }

    /// <summary>Deletes all checkpoints: the run starts over.</summary>
    /// <exception cref="IOException">The place cannot be reached.</exception>
    public async Task ClearAsync(CancellationToken cancellationToken)
    {
        foreach (var step in (await ListBlobsAsync("", cancellationToken)).Select(b => b.Step).Distinct())
            await DeleteAsync(step, cancellationToken);
    }

    /// <summary>Deletes files of a checkpoint that will not become visible.</summary>
    /// <exception cref="IOException">The place cannot be reached.</exception>
    public async Task DiscardAsync(long step, IEnumerable<CheckpointFile> files, CancellationToken cancellationToken)
    {
        foreach (var file in files)
            await blobs.DeleteAsync($"{FolderOf(step)}/{file.Name}", cancellationToken);
    }

    /// <summary>Frees the place.</summary>
    public void Dispose() => blobs.Dispose();

    private async Task<T?> NewestAsync<T>(Func<long, Task<T>> read, Action<string> note, CancellationToken cancellationToken)
        where T : class
    {
        foreach (var (step, _) in (await ListAsync(cancellationToken)).Reverse())
        {
            try
            {
                return await read(step);
            }
            catch (CheckpointException e)
            {
                note($"passing over a broken checkpoint: {e.Message}");
            }
        }

        return null;
    }

    private static string FolderOf(long step) => step.ToString(CultureInfo.InvariantCulture);

    private static bool SameFiles(CheckpointManifest a, CheckpointManifest b) => a.Files.ToHashSet().SetEquals(b.Files);

    /// <summary>Null for a damaged manifest; one of a newer program is never taken for damaged.</summary>
    private async Task<(CheckpointManifest? Manifest, byte[] Json)> TryReadAsync(string folder, CancellationToken cancellationToken)
    {
        var json = await CheckpointContents.ReadSmallAsync(blobs, $"{folder}/{CheckpointNames.Manifest}", cancellationToken) ?? [];
        try
        {
            return (CheckpointContents.Parse(CheckpointContents.PathOf(blobs, folder), json), json);
        }
        catch (CheckpointException e) when (e.InnerException is JsonException)
        {
            return (null, json);
        }
    }

    private async Task<IReadOnlyList<(long Step, string File, string Name)>> ListBlobsAsync(string prefix, CancellationToken cancellationToken)
    {
        var found = new List<(long, string, string)>();
        await foreach (var blob in blobs.ListAsync(prefix, cancellationToken))
        {
            var slash = blob.Name.IndexOf('/', StringComparison.Ordinal);
            if (slash > 0 && long.TryParse(blob.Name[..slash], NumberStyles.None, CultureInfo.InvariantCulture, out var step))
                found.Add((step, blob.Name[(slash + 1)..], blob.Name));
        }

        return found;
    }
}

using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>Reads and checks the files of one checkpoint, wherever they lie.</summary>
internal static class CheckpointContents
{
    private const long MostManifestBytes = 64 << 20;
    private const int PieceBytes = 8 << 20;

    public static string PathOf(ICheckpointBlobs blobs, string folder) =>
        blobs.LocalRoot is { } root ? Path.Combine(root, folder) : $"{blobs.Location}/{folder}";

    public static CheckpointException Bad(string path, string what, Exception? inner = null) =>
        new($"checkpoint '{path}': {what}; resume from an older checkpoint of the run, or copy this one again", inner);

    public static async Task<CheckpointManifest> ReadManifestAsync(ICheckpointBlobs blobs, string folder, CancellationToken cancellationToken)
    {
        var path = PathOf(blobs, folder);
        return await ReadSmallAsync(blobs, $"{folder}/{CheckpointNames.Manifest}", cancellationToken) is { } json
            ? Parse(path, json)
            : throw Bad(path, blobs.LocalRoot is null || Directory.Exists(path) ? $"{CheckpointNames.Manifest} is missing" : "there is no such folder");
    }

    public static CheckpointManifest Parse(string path, ReadOnlySpan<byte> json)
    {
        try
        {
            CheckFormat(path, json);
            return JsonSerializer.Deserialize(json, CheckpointJson.Default.CheckpointManifest) ?? throw new JsonException("it is null");
        }
        catch (JsonException e)
        {
            throw Bad(path, $"{CheckpointNames.Manifest} is damaged: {e.Message}", e);
        }
    }

    /// <summary>The whole of a blob that fits into memory; null when there is none.</summary>
    public static async Task<byte[]?> ReadSmallAsync(ICheckpointBlobs blobs, string name, CancellationToken cancellationToken)
    {
        if (await blobs.FindAsync(name, cancellationToken) is not { } blob)
            return null;
        if (blob.Bytes > MostManifestBytes)
            throw new CheckpointException($"'{blobs.Location}/{name}' has {blob.Bytes} bytes; that is no manifest", new JsonException());
        var bytes = new byte[blob.Bytes];
        try
        {
            return bytes[..await blobs.ReadAsync(name, 0, bytes, cancellationToken)];
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    /// <summary>Checks a checkpoint, file by file, and copies the files to a folder if one is given.</summary>
    public static async Task<CheckpointManifest> VerifyAsync(
        ICheckpointBlobs blobs, string folder, string? copyTo, CancellationToken cancellationToken, Action? progressed = null)
    {
        var path = PathOf(blobs, folder);
        var manifest = await ReadManifestAsync(blobs, folder, cancellationToken);
        foreach (var file in manifest.Files.Where(file => file.Name != Path.GetFileName(file.Name)))
            throw Bad(path, $"its manifest names '{file.Name}', which is not a plain file name");
        CheckComplete(path, manifest);
        foreach (var file in manifest.Files)
            await VerifyFileAsync(blobs, folder, file, copyTo is null ? null : Path.Combine(copyTo, file.Name), progressed, cancellationToken);
        return manifest;
    }

    private static async Task VerifyFileAsync(
        ICheckpointBlobs blobs, string folder, CheckpointFile file, string? copy, Action? progressed, CancellationToken cancellationToken)
    {
        var (path, name) = (PathOf(blobs, folder), $"{folder}/{file.Name}");
        if (await blobs.FindAsync(name, cancellationToken) is not { } blob)
            throw Bad(path, $"{file.Name} is missing");
        if (blob.Bytes != file.Bytes)
            throw Bad(path, $"{file.Name} has {blob.Bytes} bytes instead of {file.Bytes}");
        using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var output = copy is null ? null : new FileStream(copy, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        var buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(file.Bytes, PieceBytes));
        try
        {
            for (long offset = 0; offset < file.Bytes;)
            {
                var piece = buffer.AsMemory(0, (int)Math.Min(buffer.Length, file.Bytes - offset));
                var read = await blobs.ReadAsync(name, offset, piece, cancellationToken);
                if (read < piece.Length)
                    throw Bad(path, $"{file.Name} ended at byte {offset + read} instead of {file.Bytes}");
                sha.AppendData(piece.Span);
                output?.Write(piece.Span);
                offset += read;
                progressed?.Invoke();
            }
        }
        catch (FileNotFoundException e)
        {
            throw Bad(path, $"{file.Name} is missing", e);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        if (Convert.ToHexStringLower(sha.GetHashAndReset()) != file.Sha256)
            throw Bad(path, $"{file.Name} is not what was written: its SHA-256 differs from the manifest's");
    }

    /// <summary>The format is looked at first: a later one may have any other fields.</summary>
    private static void CheckFormat(string path, ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        using var document = JsonDocument.ParseValue(ref reader);
        if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("format", out var format) || !format.TryGetInt32(out var number) || number < 1)
            throw new JsonException("it has no format number");
        if (number > CheckpointManifest.CurrentFormat)
            throw new CheckpointException($"checkpoint '{path}': it has format {number} and this program reads up to {CheckpointManifest.CurrentFormat}; use the program that wrote it, or a newer one");
    }

    /// <summary>Every rank's part once, and a recipe.</summary>
    private static void CheckComplete(string path, CheckpointManifest manifest)
    {
        foreach (var kind in Enum.GetValues<CheckpointKind>())
        {
            var world = kind == CheckpointKind.Recipe ? 1 : manifest.World;
            var parts = manifest.Files.Select(f => CheckpointNames.Parse(f.Name)).Where(p => p?.Kind == kind).Select(p => p!.Value).ToList();
            for (var rank = 0; rank < world; rank++)
            {
                var count = parts.Count(p => p.Rank == rank && p.World == world);
                if (count != 1)
                    throw Bad(path, count == 0 ? $"its manifest does not list {CheckpointNames.Of(kind, rank, world)}" : $"its manifest lists {CheckpointNames.Of(kind, rank, world)} {count} times");
            }
        }
    }
}

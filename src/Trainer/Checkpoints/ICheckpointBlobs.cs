using System.Buffers;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>A blob, as a listing shows it.</summary>
/// <param name="Name">Below <see cref="ICheckpointBlobs.Location"/>, with forward slashes.</param>
/// <param name="Bytes">Its length.</param>
/// <param name="Tag">Changes whenever its content does.</param>
public sealed record CheckpointBlob(string Name, long Bytes, string Tag);

/// <summary>A place for blobs cannot be reached, is full or refuses. The message says where and what to do.</summary>
/// <param name="message">For people.</param>
/// <param name="isTransient">Whether the same request may succeed later.</param>
/// <param name="inner">The cause.</param>
public sealed class CheckpointBlobException(string message, bool isTransient, Exception? inner = null) : IOException(message, inner)
{
    /// <summary>Whether the same request may succeed later.</summary>
    public bool IsTransient { get; } = isTransient;
}

/// <summary>
/// What checkpoints need of a place that keeps blobs: a folder, Azure, memory in tests. A blob is there as a whole or not at all, and
/// is never changed in place. Thread-safe; every method may throw <see cref="IOException"/>.
/// </summary>
public interface ICheckpointBlobs : IDisposable
{
    /// <summary>The place, for people and for the ledger: a folder's full path or a URL.</summary>
    string Location { get; }

    /// <summary>The folder below which the blobs are files that can be read as such; null where they are not.</summary>
    string? LocalRoot { get; }

    /// <summary>
    /// Writes a blob durably, if its condition holds when it becomes visible: there is none of this name, or it still has the tag
    /// <paramref name="replaces"/>.
    /// </summary>
    /// <returns>False when the condition does not hold; nothing has changed then.</returns>
    Task<bool> PutAsync(string name, ReadOnlySequence<byte> content, string? replaces, CancellationToken cancellationToken);

    /// <summary>The blob of a name, or null.</summary>
    Task<CheckpointBlob?> FindAsync(string name, CancellationToken cancellationToken);

    /// <summary>Fills <paramref name="into"/> from <paramref name="offset"/> on; returns less only at the blob's end.</summary>
    /// <exception cref="FileNotFoundException">There is no such blob.</exception>
    Task<int> ReadAsync(string name, long offset, Memory<byte> into, CancellationToken cancellationToken);

    /// <summary>The blobs whose names begin with <paramref name="prefix"/>, among them unfinished ones where the place has such.</summary>
    IAsyncEnumerable<CheckpointBlob> ListAsync(string prefix, CancellationToken cancellationToken);

    /// <summary>Deletes a blob; one that is gone already is no error.</summary>
    Task DeleteAsync(string name, CancellationToken cancellationToken);
}

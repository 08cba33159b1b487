namespace DarkMatter.Data;

/// <summary>
/// Where a dataset's bytes live: named immutable blobs, read by range. Names use forward slashes. Thread-safe.
/// </summary>
public interface IBlobStore : IDisposable
{
    /// <summary>The place, for messages.</summary>
    string Location { get; }

    /// <summary>The length in bytes, or null when there is no such blob.</summary>
    ValueTask<long?> FindLengthAsync(string name, CancellationToken cancellation);

    /// <summary>
    /// Fills <paramref name="into"/> from <paramref name="offset"/> on and returns the bytes read: less than asked only at the end.
    /// </summary>
    /// <exception cref="DatasetException">There is no such blob, or it cannot be read.</exception>
    ValueTask<int> ReadAsync(string name, long offset, Memory<byte> into, CancellationToken cancellation);
}

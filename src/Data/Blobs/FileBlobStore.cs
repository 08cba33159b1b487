using Microsoft.Win32.SafeHandles;

namespace DarkMatter.Data;

/// <summary>Blobs as files below a folder; an absolute name is taken as it is. Keeps at most 256 files open.</summary>
public sealed class FileBlobStore : IBlobStore
{
    private const int MaxOpenFiles = 256;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, OpenFile> _open = new(StringComparer.Ordinal);
    private readonly string _root;
    private long _clock;
    private bool _disposed;

    /// <summary>The store of a folder.</summary>
    public FileBlobStore(string root)
    {
        ArgumentException.ThrowIfNullOrEmpty(root);
        _root = Path.GetFullPath(root);
    }

    /// <inheritdoc />
    public string Location => _root;

    /// <inheritdoc />
    public ValueTask<long?> FindLengthAsync(string name, CancellationToken cancellation)
    {
        var file = new FileInfo(Path.Combine(_root, name));
        return ValueTask.FromResult<long?>(file.Exists ? file.Length : null);
    }

    /// <inheritdoc />
    public ValueTask<int> ReadAsync(string name, long offset, Memory<byte> into, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var file = Take(name);
        try
        {
            var total = 0;
            while (total < into.Length)
            {
                var count = RandomAccess.Read(file.Handle, into.Span[total..], offset + total);
                if (count == 0)
                    break;
                total += count;
            }

            return ValueTask.FromResult(total);
        }
        catch (IOException error)
        {
            throw new DatasetException($"the file cannot be read ({error.Message})", Path.Combine(_root, name), "Check the disk or the mount.", error);
        }
        finally
        {
            Leave(file);
        }
    }

    /// <summary>Closes the files.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            foreach (var file in _open.Values)
                file.Handle.Dispose();
            _open.Clear();
        }
    }

    private OpenFile Take(string name)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (!_open.TryGetValue(name, out var file))
            {
                if (_open.Count >= MaxOpenFiles)
                    CloseOldest();
                file = new OpenFile(Open(name));
                _open.Add(name, file);
            }

            file.Readers++;
            file.LastUse = ++_clock;
            return file;
        }
    }

    private void Leave(OpenFile file)
    {
        lock (_gate)
            file.Readers--;
    }

    private void CloseOldest()
    {
        var oldest = _open.Where(entry => entry.Value.Readers == 0).OrderBy(entry => entry.Value.LastUse).FirstOrDefault();
        if (oldest.Key is null)
            return; // all are being read: as many as there are threads, which is a bound of its own
        oldest.Value.Handle.Dispose();
        _open.Remove(oldest.Key);
    }

    private SafeFileHandle Open(string name)
    {
        var path = Path.Combine(_root, name);
        try
        {
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new DatasetException("the file is missing", path, DatasetFolder.WhereToGet(path), error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new DatasetException($"the file cannot be opened ({error.Message})", path, "Check its permissions and the disk.", error);
        }
    }

    private sealed class OpenFile(SafeFileHandle handle)
    {
        public SafeFileHandle Handle { get; } = handle;

        public int Readers { get; set; }

        public long LastUse { get; set; }
    }
}

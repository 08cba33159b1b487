using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>
/// Blobs as files below a folder, which several machines may share. A file is written under another name, flushed to the disk, and then
/// takes its name in one step that fails when the name is taken.
/// </summary>
/// <param name="root">The folder; it is made when the first blob is written.</param>
public sealed partial class FolderBlobs(string root) : ICheckpointBlobs
{
    private const int PieceBytes = 4 << 20;
    private const int FolderAttempts = 3;

    private readonly string _root = Path.GetFullPath(root);

    /// <inheritdoc/>
    public string Location => _root;

    /// <inheritdoc/>
    public string? LocalRoot => _root;

    /// <inheritdoc/>
    public Task<bool> PutAsync(string name, ReadOnlySequence<byte> content, string? replaces, CancellationToken cancellationToken)
    {
        var path = PathOf(name);
        var folder = Path.GetDirectoryName(path)!;
        var temporary = Path.Combine(folder, $".{Path.GetFileName(path)}.{Guid.NewGuid():N}.tmp");
        try
        {
            using (var file = Create(temporary, folder))
            {
                foreach (var segment in content)
                {
                    for (var rest = segment; rest.Length > 0; rest = rest[Math.Min(rest.Length, PieceBytes)..])
                    {
                        cancellationToken.ThrowIfCancellationRequested();
                        file.Write(rest.Span[..Math.Min(rest.Length, PieceBytes)]);
                    }
                }

                file.Flush(flushToDisk: true);
            }

            var done = replaces is null ? TryTakeName(temporary, path) : TryReplace(temporary, path, replaces);
            FlushFolder(folder);
            return Task.FromResult(done);
        }
        finally
        {
            TryDelete(temporary);
        }
    }

    /// <inheritdoc/>
    public Task<CheckpointBlob?> FindAsync(string name, CancellationToken cancellationToken) =>
        Task.FromResult(Describe(name, new FileInfo(PathOf(name))));

    /// <inheritdoc/>
    public Task<int> ReadAsync(string name, long offset, Memory<byte> into, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            using var file = File.OpenHandle(PathOf(name));
            var total = 0;
            while (total < into.Length && RandomAccess.Read(file, into.Span[total..], offset + total) is var read and > 0)
                total += read;
            return Task.FromResult(total);
        }
        catch (DirectoryNotFoundException e)
        {
            throw new FileNotFoundException($"'{PathOf(name)}' is missing", e);
        }
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<CheckpointBlob> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await Task.CompletedTask;
        var from = Path.GetDirectoryName(PathOf(prefix + "x"))!;
        if (!Directory.Exists(from))
            yield break;
        foreach (var path in Directory.EnumerateFiles(from, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 }))
        {
            cancellationToken.ThrowIfCancellationRequested();
            var name = Path.GetRelativePath(_root, path).Replace(Path.DirectorySeparatorChar, '/');
            if (name.StartsWith(prefix, StringComparison.Ordinal) && Describe(name, new FileInfo(path)) is { } blob)
                yield return blob;
        }
    }

    /// <inheritdoc/>
    public Task DeleteAsync(string name, CancellationToken cancellationToken)
    {
        var path = PathOf(name);
        if (File.Exists(path))
            File.Delete(path);
        var folder = Path.GetDirectoryName(path)!;
        if (folder != _root && Directory.Exists(folder) && !Directory.EnumerateFileSystemEntries(folder).Any())
            TryDelete(folder);
        return Task.CompletedTask;
    }

    /// <summary>There is nothing to free.</summary>
    public void Dispose()
    {
    }

    /// <summary>A folder that another process has just emptied may vanish between its making and the file's.</summary>
    private FileStream Create(string temporary, string folder)
    {
        for (var attempt = 1; ; attempt++)
        {
            if (!Directory.Exists(folder))
            {
                Directory.CreateDirectory(folder);
                FlushFolder(_root);
            }

            try
            {
                return new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
            }
            catch (DirectoryNotFoundException) when (attempt < FolderAttempts)
            {
            }
        }
    }

    /// <summary>
    /// Gives a file another name, if that is free: of several who want it, one succeeds. (File.Move without overwriting looks first and
    /// renames then, so that two may succeed.) A hard link does it on every Unix file system that has them, a rename that replaces nothing
    /// on most others.
    /// </summary>
    private static bool TryTakeName(string temporary, string path)
    {
        if (OperatingSystem.IsWindows())
        {
            try
            {
                File.Move(temporary, path, overwrite: false);
                return true;
            }
            catch (IOException) when (File.Exists(path))
            {
                return false;
            }
        }

        if (Native.Link(temporary, path) == 0)
        {
            TryDelete(temporary);
            return true;
        }

        var error = Marshal.GetLastPInvokeError();
        if (error == Native.Exists)
            return false;
        if (OperatingSystem.IsLinux() && Native.RenameAt2(Native.CurrentFolder, temporary, Native.CurrentFolder, path, Native.NoReplace) == 0)
            return true;
        return OperatingSystem.IsLinux() && Marshal.GetLastPInvokeError() == Native.Exists
            ? false
            : throw new IOException($"'{path}' cannot be made: its file system has neither hard links nor renames that replace nothing (error {error}). Keep checkpoints in another folder.");
    }

    /// <summary>
    /// Takes the old file away by a rename, which only one of several can do; then the name is free for the new one. A crash in between
    /// leaves no file of this name: its readers go to an older checkpoint.
    /// </summary>
    private static bool TryReplace(string temporary, string path, string tag)
    {
        var taken = temporary + ".old";
        try
        {
            File.Move(path, taken, overwrite: true);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return false;
        }

        var expected = Describe("", new FileInfo(taken))?.Tag == tag;
        if (!expected)
            TryTakeName(taken, path);
        var done = expected && TryTakeName(temporary, path);
        TryDelete(taken);
        return done;
    }

    private static CheckpointBlob? Describe(string name, FileInfo file)
    {
        try
        {
            return file.Exists ? new CheckpointBlob(name, file.Length, $"{file.Length:x}-{file.LastWriteTimeUtc.Ticks:x}") : null;
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    /// <summary>What cannot be deleted now only takes space; it is collected with its checkpoint.</summary>
    private static void TryDelete(string path)
    {
        try
        {
            if (Directory.Exists(path))
                Directory.Delete(path);
            else
                File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            System.Diagnostics.Trace.TraceWarning($"Could not delete '{path}': {e.Message}");
        }
    }

    private string PathOf(string name)
    {
        var path = Path.GetFullPath(Path.Combine(_root, name));
        return path.StartsWith(_root + Path.DirectorySeparatorChar, StringComparison.Ordinal)
            ? path
            : throw new ArgumentException($"'{name}' lies outside of '{_root}'.", nameof(name));
    }

    /// <summary>Makes the names in a folder durable.</summary>
    private static void FlushFolder(string path)
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

    private static partial class Native
    {
        internal const int Exists = 17; // EEXIST
        internal const int CurrentFolder = -100; // AT_FDCWD
        internal const uint NoReplace = 1; // RENAME_NOREPLACE

        [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
        internal static partial int Link(string from, string to);

        [LibraryImport("libc", EntryPoint = "renameat2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
        internal static partial int RenameAt2(int fromFolder, string from, int toFolder, string to, uint flags);

        [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
        internal static partial int Open(string path, int flags);

        [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
        internal static partial int Fsync(int descriptor);

        [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
        internal static partial int Close(int descriptor);
    }
}

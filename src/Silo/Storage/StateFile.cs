using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;

namespace DarkMatter.Silo;

/// <summary>
/// One stored state: a header line and a body, both JSON.
/// <code>
/// {"format":1,"etag":"7","sha256":"…of the body…"}
/// {…state…}
/// </code>
/// A write makes the new file beside the old one, forces it to disk, keeps the old one as <c>.previous</c> and renames; so a kill or a power
/// cut at any moment leaves the old state or the new one.
/// </summary>
internal static partial class StateFile
{
    /// <summary>Version of the layout above.</summary>
    private const int Format = 1;

    /// <summary>Body and ETag, or null when there is no file.</summary>
    /// <exception cref="InvalidDataException">The file is damaged; the message names it, its previous version, and what to do.</exception>
    public static (string ETag, byte[] Body)? Read(string path)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }

        int line = bytes.AsSpan().IndexOf((byte)'\n');
        if (line < 0)
        {
            throw Damaged(path, "it has no header line", null);
        }

        Header header;
        try
        {
            header = JsonSerializer.Deserialize<Header>(bytes.AsSpan(0, line), JsonSerializerOptions.Web) ?? throw new JsonException("it is null");
        }
        catch (JsonException exception)
        {
            throw Damaged(path, "its header is not JSON", exception);
        }

        if (header.Format != Format)
        {
            throw new InvalidDataException(
                $"{path} has format {header.Format}, but this version reads format {Format}. It was written by another version of DarkMatter: "
                + "run that one, or choose an empty state folder.");
        }

        byte[] body = bytes[(line + 1)..];
        return Convert.ToHexStringLower(SHA256.HashData(body)) == header.Sha256
            ? (header.Etag, body)
            : throw Damaged(path, "its contents do not have the SHA-256 that its header says", null);
    }

    /// <summary>Replaces the file; durable when it returns.</summary>
    public static void Write(string path, string etag, byte[] body)
    {
        string folder = Path.GetDirectoryName(path)!;
        Directory.CreateDirectory(folder);
        string next = path + ".next";
        var header = new Header(Format, etag, Convert.ToHexStringLower(SHA256.HashData(body)));
        using (var file = new FileStream(next, FileMode.Create, FileAccess.Write, FileShare.None))
        {
            file.Write(JsonSerializer.SerializeToUtf8Bytes(header, JsonSerializerOptions.Web));
            file.Write("\n"u8);
            file.Write(body);
            file.Flush(flushToDisk: true);
        }

        if (File.Exists(path))
        {
            File.Replace(next, path, path + ".previous");
        }
        else
        {
            File.Move(next, path, overwrite: true);
        }

        FlushFolder(folder);
    }

    /// <summary>Removes the file and its previous version.</summary>
    public static void Delete(string path)
    {
        if (File.Exists(path))
        {
            File.Delete(path);
            File.Delete(path + ".previous");
            FlushFolder(Path.GetDirectoryName(path)!);
        }
    }

    private static InvalidDataException Damaged(string path, string how, Exception? cause)
    {
        string previous = path + ".previous";
        string remedy = File.Exists(previous)
            ? $"The version before it is {previous}: copy it over the damaged file to go back to it."
            : "There is no version before it: restore it from a backup, or remove it to lose only what it held.";
        return new InvalidDataException($"{path} is damaged: {how}. {remedy}", cause);
    }

    // A rename is durable once its folder is. Only Unix needs and allows this.
    private static void FlushFolder(string folder)
    {
        if (!OperatingSystem.IsLinux() && !OperatingSystem.IsMacOS())
        {
            return;
        }

        int descriptor = Open(folder, 0);
        if (descriptor < 0)
        {
            throw new IOException($"{folder} could not be opened to force it to disk (errno {Marshal.GetLastPInvokeError()}).");
        }

        int result = FSync(descriptor);
        int error = Marshal.GetLastPInvokeError();
        _ = Close(descriptor);
        if (result != 0)
        {
            throw new IOException($"{folder} could not be forced to disk (errno {error}).");
        }
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FSync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);

    private sealed record Header(int Format, string Etag, string Sha256);
}

using System.Diagnostics;

namespace DarkMatter.Checkpoint.Bench;

/// <summary>What the disk can do by itself.</summary>
internal static class Disk
{
    /// <summary>Bytes per second of writing a file of this size and flushing it, in pieces of 4 MiB.</summary>
    public static double WriteRate(string folder, long bytes)
    {
        var path = Path.Combine(folder, "disk");
        var piece = new byte[4 << 20];
        Random.Shared.NextBytes(piece);
        var start = Stopwatch.GetTimestamp();
        using (var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0))
        {
            for (var left = bytes; left > 0; left -= piece.Length)
            {
                file.Write(piece.AsSpan(0, (int)Math.Min(left, piece.Length)));
            }
            file.Flush(flushToDisk: true);
        }
        var rate = bytes / Stopwatch.GetElapsedTime(start).TotalSeconds;
        File.Delete(path);
        return rate;
    }

    /// <summary>Bytes per second of copying memory on one thread, once the target's pages are there.</summary>
    public static double CopyRate(long bytes)
    {
        byte[] from = new byte[bytes], to = new byte[bytes];
        from.CopyTo(to, 0);
        var start = Stopwatch.GetTimestamp();
        from.CopyTo(to, 0);
        return bytes / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}

using System.Text;
using System.Text.Json;

namespace DarkMatter.Data;

/// <summary>A finished shard, as the journal remembers it.</summary>
internal sealed record FinishedShard(int Shard, ShardEntry Entry, IReadOnlyList<BrokenSample> Broken);

/// <summary>A broken sample with its number in the source.</summary>
internal sealed record BrokenSample(long Source, string Name, string Reason);

/// <summary>
/// The list of finished shards while a pack runs: one JSON line for the plan, then one per shard, appended after the shard is in place.
/// A line that a kill cut short or a crash damaged is dropped with all after it. The open file is also the lock against a second pack into the same folder.
/// </summary>
internal sealed class PackJournal : IDisposable
{
    private readonly FileStream _file;
    private readonly Lock _gate = new();

    private PackJournal(FileStream file) => _file = file;

    /// <summary>Opens or begins the journal of a plan, and returns the shards that are finished and still there.</summary>
    public static PackJournal Open(string folder, byte[] planDigest, out Dictionary<int, FinishedShard> finished)
    {
        var path = Path.Combine(folder, PackJob.JournalName);
        FileStream file;
        try
        {
            file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException error) when (File.Exists(path))
        {
            throw new DatasetException($"another pack is writing to this folder ({error.Message})", folder,
                "Wait for it, or choose another destination.", error);
        }

        try
        {
            finished = Read(file, folder, Convert.ToHexStringLower(planDigest));
            return new PackJournal(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Remembers a shard whose files are in place.</summary>
    public void Add(FinishedShard shard)
    {
        lock (_gate)
            WriteLine(_file, JsonSerializer.Serialize(shard));
    }

    public void Dispose() => _file.Dispose();

    private static Dictionary<int, FinishedShard> Read(FileStream file, string folder, string plan)
    {
        var finished = new Dictionary<int, FinishedShard>();
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        var whole = bytes.AsSpan().LastIndexOf((byte)'\n') + 1;
        file.SetLength(whole);
        file.Position = whole;
        if (whole == 0)
        {
            WriteLine(file, plan);
            return finished;
        }

        var first = bytes.AsSpan().IndexOf((byte)'\n');
        if (!bytes.AsSpan(0, first).SequenceEqual(Encoding.UTF8.GetBytes(plan)))
        {
            throw new DatasetException("the folder holds the beginning of another pack: the source or the options changed since", folder,
                "Delete the folder and pack again, or choose another destination.");
        }

        for (var start = first + 1; start < whole;)
        {
            var length = bytes.AsSpan(start).IndexOf((byte)'\n');
            if (Parse(bytes.AsSpan(start, length)) is not { } shard)
            {
                // Damaged, by a power cut perhaps: what it and the lines after it remember is made again.
                file.SetLength(start);
                file.Position = start;
                break;
            }

            if (IsInPlace(folder, shard))
                finished[shard.Shard] = shard;
            start += length + 1;
        }

        return finished;
    }

    private static FinishedShard? Parse(ReadOnlySpan<byte> line)
    {
        try
        {
            var shard = JsonSerializer.Deserialize<FinishedShard>(line);
            return shard is { Entry: not null, Broken: not null } && shard.Entry.Tar == ShardWriter.TarName(shard.Shard) ? shard : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static bool IsInPlace(string folder, FinishedShard shard)
    {
        var tar = new FileInfo(Path.Combine(folder, shard.Entry.Tar));
        var index = tar.FullName + ShardIndex.FileSuffix;
        return tar.Exists && tar.Length == shard.Entry.TarBytes && File.Exists(index)
            && ShardIndex.DigestOf(File.ReadAllBytes(index)) == shard.Entry.IndexDigest;
    }

    private static void WriteLine(FileStream file, string line)
    {
        file.Write(Encoding.UTF8.GetBytes(line + "\n"));
        file.Flush(flushToDisk: true);
    }
}

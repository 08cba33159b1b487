using System.Globalization;

namespace DarkMatter.Data;

/// <summary>Writes one shard and its index, under temporary names until both are whole.</summary>
internal static class ShardWriter
{
    /// <summary>The ending of a file that is not finished.</summary>
    public const string Unfinished = ".partial";

    private const int BufferBytes = 1 << 20;

    public static string TarName(int shard) => string.Create(CultureInfo.InvariantCulture, $"shard-{shard:D6}.tar");

    /// <summary>Packs the samples of one shard of the plan.</summary>
    /// <param name="folder">The dataset's folder.</param>
    /// <param name="shard">The shard's number.</param>
    /// <param name="plan">Which samples it holds.</param>
    /// <param name="input">The samples.</param>
    /// <param name="tools">The worker's tools.</param>
    /// <param name="onSample">Told after each sample, and whether it was broken.</param>
    /// <param name="cancellation">Ends the work between two samples.</param>
    public static FinishedShard Write(
        string folder, int shard, PackPlan plan, IPackInput input, PackTools tools, Action<bool> onSample, CancellationToken cancellation)
    {
        var name = TarName(shard);
        var path = Path.Combine(folder, name);
        var index = new ShardIndex.Builder(0, []);
        var broken = new List<BrokenSample>();
        long length;
        using (var file = new FileStream(path + Unfinished, FileMode.Create, FileAccess.Write, FileShare.None, BufferBytes))
        {
            var tar = new TarWriter(file);
            var (first, end) = plan.Range(shard);
            for (var position = first; position < end; position++)
            {
                cancellation.ThrowIfCancellationRequested();
                var source = plan.Source(position);
                var sound = TryAdd(source, tar);
                onSample(!sound);
            }

            tar.Finish();
            length = tar.Length;
            file.Flush(flushToDisk: true);
        }

        var bytes = index.Build(length).ToBytes();
        WriteWhole(path + ShardIndex.FileSuffix, bytes);
        File.Move(path + Unfinished, path, overwrite: true);
        return new FinishedShard(shard, new ShardEntry(name, index.Count, length, ShardIndex.DigestOf(bytes)), broken);

        bool TryAdd(long source, TarWriter tar)
        {
            PackSample sample;
            try
            {
                sample = input.Read(source, tools, cancellation);
            }
            catch (BrokenImageException reason)
            {
                broken.Add(new BrokenSample(source, input.Name(source), reason.Message));
                return false;
            }

            foreach (var (suffix, content) in sample.Members)
                index.AddMember(index.Suffix(suffix), tar.Add($"{sample.Key}.{suffix}", content.Span), content.Length);
            index.EndSample(sample.Key);
            return true;
        }
    }

    /// <summary>Writes a file that is either whole or not there.</summary>
    public static void WriteWhole(string path, ReadOnlySpan<byte> bytes)
    {
        using (var file = new FileStream(path + Unfinished, FileMode.Create, FileAccess.Write, FileShare.None))
        {
            file.Write(bytes);
            file.Flush(flushToDisk: true);
        }

        File.Move(path + Unfinished, path, overwrite: true);
    }
}

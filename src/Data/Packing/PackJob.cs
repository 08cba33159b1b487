using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using System.Text;

namespace DarkMatter.Data;

/// <summary>
/// Turns images into a dataset: shards, indexes and a catalog. Shards are made in parallel and moved into place when whole; a journal lists
/// them until the catalog is written, so a killed pack goes on, and ends in the same bytes as one that ran through.
/// </summary>
public static class PackJob
{
    /// <summary>The file that names the images left out, one a line with a tab and the reason; absent when there are none.</summary>
    public const string BrokenFileName = "broken.txt";

    /// <summary>The file that names the classes by number, one a line; absent when the source has no names.</summary>
    public const string ClassesFileName = "classes.txt";

    internal const string JournalName = "pack.journal";

    private const int ProgressEvery = 64;

    /// <summary>Packs; goes on where an interrupted pack of the same source ended, and returns at once when all is packed already.</summary>
    /// <param name="options">What to pack.</param>
    /// <param name="progress">Told after every few samples, from worker threads; null for silence.</param>
    /// <param name="cancellation">Ends the pack; a later one resumes it.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <exception cref="DatasetException">The source is missing, empty or foreign, or the destination holds another dataset.</exception>
    public static Task<PackReport> RunAsync(PackOptions options, IProgress<PackProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        Check(options);
        return Task.Run(() => OpenAndPackAsync(options, progress, cancellation), cancellation);
    }

    private static async Task<PackReport> OpenAndPackAsync(PackOptions options, IProgress<PackProgress>? progress, CancellationToken cancellation)
    {
        using IPackInput input = options.Source switch
        {
            PackSource.Folder folder => new FolderInput(folder),
            PackSource.Idx idx => new IdxInput(idx),
            PackSource.Tars tars => await TarInput.OpenAsync(tars, options.Workers, cancellation),
            _ => throw new ArgumentException($"{options.Source.GetType().Name} is no known source.", nameof(options)),
        };

        try
        {
            return Pack(options, input, progress, cancellation);
        }
        catch (IOException error)
        {
            throw new DatasetException($"the dataset cannot be written ({error.Message})", Path.GetFullPath(options.Destination),
                "Free some space or check the disk, then run the same pack again: it goes on where it ended.", error);
        }
        catch (UnauthorizedAccessException error)
        {
            throw new DatasetException($"the dataset cannot be written ({error.Message})", Path.GetFullPath(options.Destination),
                "Choose a destination that you may write to.", error);
        }
    }

    private static void Check(PackOptions options)
    {
        ArgumentException.ThrowIfNullOrEmpty(options.Destination);
        if (options.ShardSamples < 1)
            throw new ArgumentException($"ShardSamples is {options.ShardSamples}; it is 1 or more.", nameof(options));
        if (options.ShardBytes < 1 << 20)
            throw new ArgumentException($"ShardBytes is {options.ShardBytes}; it is 1 MiB or more.", nameof(options));
        if (options.Images < 0)
            throw new ArgumentException($"Images is {options.Images}; it is 0 (all) or more.", nameof(options));
        if (options.Images > 0 && options.Source is PackSource.Tars { Reshard: false })
            throw new ArgumentException($"Images is {options.Images}, but tars are indexed where they are, all of their images.", nameof(options));
        if (options.Workers is < 1 or > 256)
            throw new ArgumentException($"Workers is {options.Workers}; it is 1 to 256.", nameof(options));
    }

    private static PackReport Pack(PackOptions options, IPackInput input, IProgress<PackProgress>? progress, CancellationToken cancellation)
    {
        var folder = Path.GetFullPath(options.Destination);
        var plan = new PackPlan(input, options);
        if (FindFinished(folder, plan) is { } done)
            return done;

        Directory.CreateDirectory(folder);
        using var journal = PackJournal.Open(folder, plan.Digest, out var finished);
        var resumed = finished.Count;
        var shards = options.Source is PackSource.Tars { Reshard: false }
            ? WriteReferences(folder, (TarInput)input)
            : WriteShards(folder, options, plan, input, journal, finished, progress, cancellation);

        BrokenImage[] broken = [.. (input as TarInput)?.WithoutImage ?? [],
            .. shards.SelectMany(shard => shard.Broken).OrderBy(sample => sample.Source).Select(sample => new BrokenImage(sample.Name, sample.Reason))];
        var catalog = Catalog.Create([.. shards.Select(shard => shard.Entry)], plan.Digest);
        if (catalog.SampleCount == 0)
        {
            throw new DatasetException(
                $"none of the {plan.Samples} images can be read; the first: {broken[0].Name}: {broken[0].Reason}", SourcePath(options.Source),
                "Give images that are whole JPEG, PNG or WebP files.");
        }

        WriteLines(folder, BrokenFileName, broken.Select(image => $"{image.Name}\t{image.Reason}"));
        WriteLines(folder, ClassesFileName, input.Classes);
        ShardWriter.WriteWhole(Path.Combine(folder, Catalog.FileName), catalog.FileBytes.Span);
        // A kill between these two leaves a journal beside the catalog: the next pack finds the catalog and removes it.
        File.Delete(Path.Combine(folder, JournalName));
        return new PackReport(catalog, broken, resumed);
    }

    /// <summary>The report of a pack that ran through before; null when there is still something to do.</summary>
    private static PackReport? FindFinished(string folder, PackPlan plan)
    {
        if (!Directory.Exists(folder))
            return null;
        if (File.Exists(Path.Combine(folder, Catalog.FileName)))
        {
            var catalog = Catalog.Load(folder);
            if (catalog.SourceDigest != Convert.ToHexStringLower(plan.Digest))
            {
                throw new DatasetException("the folder holds a dataset of another source or with other options", folder,
                    "Choose another destination, or delete the folder to pack it anew.");
            }

            File.Delete(Path.Combine(folder, JournalName));
            return new PackReport(catalog, ReadBroken(folder), catalog.Shards.Count);
        }

        if (Directory.EnumerateFileSystemEntries(folder).Any() && !File.Exists(Path.Combine(folder, JournalName)))
            throw new DatasetException("the destination is not empty, and no interrupted pack", folder, "Choose an empty or new folder.");
        return null;
    }

    private static FinishedShard[] WriteReferences(string folder, TarInput input)
    {
        var shards = new FinishedShard[input.Tars.Count];
        for (var i = 0; i < shards.Length; i++)
        {
            var index = input.Indexes[i];
            var bytes = index.ToBytes();
            ShardWriter.WriteWhole(Path.Combine(folder, Dataset.IndexName(i, input.Tars[i])), bytes);
            shards[i] = new FinishedShard(i, new ShardEntry(input.Tars[i], index.Count, index.TarBytes, ShardIndex.DigestOf(bytes)), []);
        }

        return shards;
    }

    private static FinishedShard[] WriteShards(
        string folder, PackOptions options, PackPlan plan, IPackInput input, PackJournal journal, Dictionary<int, FinishedShard> finished,
        IProgress<PackProgress>? progress, CancellationToken cancellation)
    {
        var shards = new FinishedShard[plan.Shards];
        var count = new Tally(plan.Samples, progress);
        foreach (var shard in finished.Values.Where(shard => shard.Shard >= 0 && shard.Shard < plan.Shards))
        {
            var (first, end) = plan.Range(shard.Shard);
            shards[shard.Shard] = shard;
            count.Shard(shard, end - first);
        }

        var tools = new ConcurrentBag<PackTools>();
        try
        {
            var parallel = new ParallelOptions { MaxDegreeOfParallelism = options.Workers, CancellationToken = cancellation };
            var missing = Enumerable.Range(0, plan.Shards).Where(shard => shards[shard] is null);
            Parallel.ForEach(Partitioner.Create(missing, EnumerablePartitionerOptions.NoBuffering), parallel, shard =>
            {
                var mine = tools.TryTake(out var free) ? free : new PackTools();
                try
                {
                    shards[shard] = ShardWriter.Write(folder, shard, plan, input, mine, count.Sample, cancellation);
                }
                finally
                {
                    tools.Add(mine);
                }

                journal.Add(shards[shard]);
                count.Shard(shards[shard], 0);
            });
        }
        catch (AggregateException failures)
        {
            cancellation.ThrowIfCancellationRequested();
            ExceptionDispatchInfo.Throw(failures.Flatten().InnerExceptions[0]);
        }
        finally
        {
            foreach (var one in tools)
                one.Dispose();
        }

        return shards;
    }

    private static void WriteLines(string folder, string name, IEnumerable<string> lines)
    {
        var text = string.Concat(lines.Select(line => line.ReplaceLineEndings(" ") + "\n"));
        if (text.Length > 0)
            ShardWriter.WriteWhole(Path.Combine(folder, name), Encoding.UTF8.GetBytes(text));
    }

    private static BrokenImage[] ReadBroken(string folder)
    {
        var path = Path.Combine(folder, BrokenFileName);
        return !File.Exists(path) ? [] : [.. File.ReadLines(path).Select(line => line.Split('\t', 2)).Select(parts => new BrokenImage(parts[0], parts[^1]))];
    }

    private static string SourcePath(PackSource source) => source switch
    {
        PackSource.Folder folder => Path.GetFullPath(folder.Path),
        PackSource.Idx idx => idx.Images,
        PackSource.Tars tars => tars.Paths[0],
        _ => "source",
    };

    /// <summary>Counts for the progress callback.</summary>
    private sealed class Tally(long total, IProgress<PackProgress>? progress)
    {
        private readonly Lock _gate = new();
        private long _done;
        private long _broken;
        private long _bytes;
        private int _shards;

        public void Sample(bool isBroken)
        {
            lock (_gate)
            {
                _done++;
                _broken += isBroken ? 1 : 0;
                if (_done % ProgressEvery == 0)
                    Report();
            }
        }

        /// <summary>A shard is in place; <paramref name="uncounted"/> of its samples were not counted one by one.</summary>
        public void Shard(FinishedShard shard, long uncounted)
        {
            lock (_gate)
            {
                _done += uncounted;
                _broken += uncounted > 0 ? shard.Broken.Count : 0;
                _bytes += shard.Entry.TarBytes;
                _shards++;
                Report();
            }
        }

        private void Report() => progress?.Report(new PackProgress(_done, total, _broken, _shards, _bytes));
    }
}

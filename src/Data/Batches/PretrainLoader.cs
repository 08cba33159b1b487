using System.Collections.Concurrent;

namespace DarkMatter.Data;

/// <summary>A broken sample that was met and replaced.</summary>
/// <param name="Address">Where it stands.</param>
/// <param name="Key">Its key.</param>
/// <param name="Reason">What is wrong with it.</param>
/// <param name="Replacement">The sample that took its place: the next sound one of its shard.</param>
/// <param name="ReplacementKey">The replacement's key.</param>
public sealed record QuarantinedSample(SampleAddress Address, string Key, string Reason, SampleAddress Replacement, string ReplacementKey);

/// <summary>
/// Reads, decodes and augments a rank's samples, step after step, a bounded number of batches ahead. What a batch holds depends on the
/// options only, never on the workers, on earlier reads, or on time.
/// </summary>
public sealed class PretrainLoader : IAsyncDisposable
{
    /// <summary>Samples a worker takes at once.</summary>
    private const int ChunkSamples = 16;

    /// <summary>Samples of a shard that are tried in a broken one's place before the shard counts as broken.</summary>
    private const int MaxReplacements = 64;

    private static readonly TimeSpan StopDeadline = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan IdleCheck = TimeSpan.FromSeconds(1);

    private readonly Dataset _dataset;
    private readonly SampleOrder _order;
    private readonly PinnedPool _pool;
    private readonly DecodedCache? _cache;
    private readonly ConcurrentDictionary<SampleAddress, bool> _broken = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Thread[] _workers;

    // Guarded by _gate: the batches begun and not yet read, oldest first.
    private readonly object _gate = new();
    private readonly Queue<Slot> _slots = new();
    private Slot? _filling;
    private long _nextStep;
    private TaskCompletionSource? _reader;
    private Exception? _failure;
    private int _reading;
    private bool _disposed;

    private PretrainLoader(PretrainLoaderOptions options, Dataset dataset)
    {
        Options = options;
        _dataset = dataset;
        _order = new SampleOrder(options.Seed, dataset.Catalog.ShardCounts, options.LaneCount, options.BlockSize);
        _pool = new PinnedPool((options.PrefetchBatches + 2) * options.Views.Count);
        _cache = options.CacheBytes > 0 ? new DecodedCache(options.CacheBytes) : null;
        _nextStep = options.StartStep;
        _workers = [.. Enumerable.Range(0, options.Workers).Select(worker => new Thread(Work) { IsBackground = true, Name = $"data-{worker}" })];
    }

    /// <summary>Raised once per broken sample, from a worker's thread.</summary>
    public event Action<QuarantinedSample>? Quarantined;

    /// <summary>The options the loader was opened with.</summary>
    public PretrainLoaderOptions Options { get; }

    /// <summary>The dataset's catalog.</summary>
    public Catalog Catalog => _dataset.Catalog;

    /// <summary>Samples of this rank per step.</summary>
    public int SamplesPerStep => Options.Lanes.Count * Options.GlobalBatch / Options.LaneCount;

    /// <summary>Buffers handed out and not yet given back: 0 after every batch and the loader are disposed.</summary>
    internal int BuffersRented => _pool.Rented;

    /// <summary>Buffers made since the loader was opened.</summary>
    internal int BuffersAllocated => _pool.Allocated;

    /// <summary>Opens a dataset; reading ahead from <see cref="PretrainLoaderOptions.StartStep"/> begins with the first read.</summary>
    /// <exception cref="ArgumentException">The options are unsound; the message lists every problem.</exception>
    /// <exception cref="DatasetException">The dataset is missing or damaged, or has fewer images than lanes.</exception>
    public static PretrainLoader Open(PretrainLoaderOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.FindProblems() is { Count: > 0 } problems)
            throw new ArgumentException($"The loader's options are unsound: {string.Join("; ", problems)}.", nameof(options));
        return Open(options, Dataset.Open(options.DatasetPath));
    }

    /// <summary>Opens a dataset wherever it lies; it belongs to the loader from now on.</summary>
    internal static PretrainLoader Open(PretrainLoaderOptions options, Dataset dataset)
    {
        if (dataset.Catalog.SampleCount < options.LaneCount)
        {
            dataset.Dispose();
            throw new DatasetException(
                $"the dataset has {dataset.Catalog.SampleCount} images for {options.LaneCount} lanes; each lane needs at least one",
                options.DatasetPath, "Use fewer lanes or pack more images.");
        }

        return new PretrainLoader(options, dataset);
    }

    /// <summary>The next step's batch, in step order. One read at a time; a cancelled read loses nothing.</summary>
    /// <exception cref="DatasetException">A shard is missing or damaged.</exception>
    /// <exception cref="TimeoutException">No batch was ready within <see cref="PretrainLoaderOptions.ReadTimeout"/>.</exception>
    public async ValueTask<PretrainBatch> ReadAsync(CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (Interlocked.Exchange(ref _reading, 1) != 0)
            throw new InvalidOperationException("A read is under way; await it before the next one.");
        try
        {
            while (true)
            {
                Task ready;
                lock (_gate)
                {
                    if (TakeReady() is { } batch)
                        return batch;
                    _reader = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                    ready = _reader.Task;
                }

                await ready.WaitAsync(Options.ReadTimeout, cancellation);
            }
        }
        catch (TimeoutException timeout)
        {
            throw new TimeoutException(
                $"No batch was ready within {Options.ReadTimeout.TotalSeconds:0.#} s from {Options.DatasetPath}. "
                + "Use more data workers or smaller views, or check the storage.", timeout);
        }
        finally
        {
            Volatile.Write(ref _reading, 0);
        }
    }

    /// <summary>Stops the workers and frees their memory. Batches that were read stay valid until they are disposed.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            Monitor.PulseAll(_gate);
            _reader?.TrySetResult();
        }

        await _stop.CancelAsync();
        var stopped = await Task.Run(() => _workers.All(worker => !worker.IsAlive || worker.Join(StopDeadline)));
        if (!stopped)
            return; // a worker hangs in the storage: what it uses must not be freed under it
        foreach (var slot in _slots)
            slot.Batch.Dispose();
        _slots.Clear();
        _pool.Clear();
        _dataset.Dispose();
        _stop.Dispose();
    }

    private PretrainBatch? TakeReady()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_slots.TryPeek(out var head) && head.Missing == 0)
        {
            _slots.Dequeue();
            Monitor.PulseAll(_gate);
            return head.Batch;
        }

        if (_failure is DatasetException known)
            throw new DatasetException(known.What, known.Where, known.Remedy, known);
        if (_failure is { } failure)
            throw new InvalidOperationException($"A data worker failed: {failure.Message}", failure);
        if (_workers[0].ThreadState.HasFlag(ThreadState.Unstarted))
        {
            foreach (var worker in _workers)
                worker.Start();
        }

        return null;
    }

    private void Work()
    {
        try
        {
            using var maker = new ViewMaker(_dataset, _cache, Options.Seed, Options.Views);
            while (Claim() is var (slot, first, end))
            {
                var digest = 0UL;
                for (var row = first; row < end; row++)
                    digest += Fill(maker, slot, row);
                Complete(slot, end - first, digest);
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Disposed in the middle of a read.
        }
        catch (Exception failure)
        {
            lock (_gate)
            {
                _failure ??= failure;
                _reader?.TrySetResult();
                Monitor.PulseAll(_gate);
            }
        }
    }

    /// <summary>The next samples to make, in step order; null when the loader ends.</summary>
    private (Slot Slot, int First, int End)? Claim()
    {
        lock (_gate)
        {
            while (!_disposed && _failure is null)
            {
                if (_filling is null && _slots.Count < Options.PrefetchBatches)
                {
                    _filling = new Slot(_nextStep++, SamplesPerStep, Options.Views, _pool);
                    _slots.Enqueue(_filling);
                }

                if (_filling is { } slot)
                {
                    var first = slot.Claimed;
                    slot.Claimed = Math.Min(first + ChunkSamples, slot.Keys.Length);
                    if (slot.Claimed == slot.Keys.Length)
                        _filling = null;
                    return (slot, first, slot.Claimed);
                }

                Monitor.Wait(_gate, IdleCheck);
            }

            return null;
        }
    }

    private void Complete(Slot slot, int samples, ulong digest)
    {
        lock (_gate)
        {
            slot.Batch.Digest += digest;
            slot.Missing -= samples;
            if (slot.Missing == 0)
                _reader?.TrySetResult();
        }
    }

    /// <summary>Makes one sample's views; returns its digest.</summary>
    private ulong Fill(ViewMaker maker, Slot slot, int row)
    {
        var perLane = Options.GlobalBatch / Options.LaneCount;
        var (lane, sample) = Math.DivRem(row, perLane);
        var place = _order.Locate(Options.Lanes[lane], slot.Batch.Step * perLane + sample);
        slot.Batch.Places[row] = Catalog.SampleNumber(place.Address);
        slot.Keys[row] = TryMake(maker, place, place.Address, slot, row, out var reason)
            ?? Replace(maker, place, slot, row, reason);
        return SampleDigest.Of(slot.Batch.Step, place);
    }

    private string Replace(ViewMaker maker, SamplePlace place, Slot slot, int row, string reason)
    {
        var (shard, sample) = place.Address;
        var samples = Catalog.ShardCounts[shard];
        for (var next = 1; next < samples && next <= MaxReplacements; next++)
        {
            var address = new SampleAddress(shard, (sample + next) % samples);
            if (TryMake(maker, place, address, slot, row, out _) is not { } key)
                continue;
            if (_broken.TryAdd(place.Address, true))
                Quarantined?.Invoke(new QuarantinedSample(place.Address, maker.Key(place.Address, _stop.Token), reason, address, key));
            return key;
        }

        throw new DatasetException(
            $"sample '{maker.Key(place.Address, _stop.Token)}' is broken ({reason}), and so are the {Math.Min(samples - 1, MaxReplacements)} after it",
            Path.Combine(Options.DatasetPath, Catalog.Shards[shard].Tar), "The shard is damaged: copy it again, or pack the dataset again.");
    }

    private string? TryMake(ViewMaker maker, SamplePlace place, SampleAddress address, Slot slot, int row, out string reason)
    {
        try
        {
            reason = "";
            return maker.Make(address, place.Address, place.Epoch, slot.Batch, row, _stop.Token);
        }
        catch (BrokenImageException broken)
        {
            reason = broken.Message;
            return null;
        }
    }

    /// <summary>A batch that is being made.</summary>
    private sealed class Slot
    {
        public Slot(long step, int count, IReadOnlyList<ViewRecipe> views, PinnedPool pool)
        {
            Keys = new string[count];
            Missing = count;
            Batch = new PretrainBatch(step, Keys, views, pool);
        }

        public string[] Keys { get; }

        public PretrainBatch Batch { get; }

        /// <summary>Samples given to workers.</summary>
        public int Claimed { get; set; }

        /// <summary>Samples not yet made.</summary>
        public int Missing { get; set; }
    }
}

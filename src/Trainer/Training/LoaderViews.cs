using DarkMatter.Data;

namespace DarkMatter.Trainer.Training;

/// <summary>The batches of <c>DarkMatter.Data</c>'s loader, as the training loop reads them. The first is being made from the beginning.</summary>
public sealed class LoaderViews : IViewSource
{
    private readonly PretrainLoader _loader;
    private Task<PretrainBatch>? _first;

    /// <summary>Begins to read.</summary>
    /// <param name="loader">Open; it is closed with this source.</param>
    /// <param name="startStep">The step of its first batch.</param>
    public LoaderViews(PretrainLoader loader, long startStep)
    {
        (_loader, StartStep) = (loader, startStep);
        _first = loader.ReadAsync(CancellationToken.None).AsTask();
    }

    /// <summary>The step of the first batch.</summary>
    public long StartStep { get; }

    /// <inheritdoc/>
    public async ValueTask<IViewBatch> ReadAsync(CancellationToken cancellationToken)
    {
        if (_first is not { } first)
            return new Batch(await _loader.ReadAsync(cancellationToken));
        var batch = await first.WaitAsync(cancellationToken);
        _first = null;
        return new Batch(batch);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _loader.DisposeAsync();
        if (_first is not { } unread)
            return;
        try
        {
            (await unread).Dispose();
        }
        catch (Exception e) when (e is ObjectDisposedException or OperationCanceledException or DatasetException or InvalidOperationException or TimeoutException)
        {
            // Nobody waits for it any more; an error that matters is met again by whoever reads next.
        }
    }

    private sealed class Batch(PretrainBatch batch) : IViewBatch
    {
        public long Step => batch.Step;

        public int Count => batch.Count;

        public IReadOnlyList<string> Keys => batch.Keys;

        public IReadOnlyList<long> Numbers => batch.Numbers;

        public ulong Digest => batch.Digest;

        public Memory<byte> View(int view) => batch.View(view);

        public void Dispose() => batch.Dispose();
    }
}

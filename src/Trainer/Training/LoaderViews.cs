using DarkMatter.Data;

namespace DarkMatter.Trainer.Training;

/// <summary>The batches of <c>DarkMatter.Data</c>'s loader, as the training loop reads them.</summary>
/// <param name="loader">Open; it is closed with this source.</param>
public sealed class LoaderViews(PretrainLoader loader) : IViewSource
{
    /// <inheritdoc/>
    public async ValueTask<IViewBatch> ReadAsync(CancellationToken cancellationToken) =>
        new Batch(await loader.ReadAsync(cancellationToken));

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => loader.DisposeAsync();

    private sealed class Batch(PretrainBatch batch) : IViewBatch
    {
        public long Step => batch.Step;

        public int Count => batch.Count;

        public IReadOnlyList<string> Keys => batch.Keys;

        public Memory<byte> View(int view) => batch.View(view);

        public void Dispose() => batch.Dispose();
    }
}

using System.Buffers;
using DarkMatter.Trainer.Checkpoints;

namespace DarkMatter.Trainer.Tests.Checkpoints;

/// <summary>A place whose every operation a test can delay or let fail.</summary>
/// <param name="inner">The place; not freed.</param>
/// <param name="before">Called with the operation and the name before each; what it throws, the operation throws.</param>
internal sealed class WatchedBlobs(ICheckpointBlobs inner, Func<string, string, CancellationToken, Task> before) : ICheckpointBlobs
{
    public string Location => inner.Location;

    public string? LocalRoot => inner.LocalRoot;

    public async Task<bool> PutAsync(string name, ReadOnlySequence<byte> content, string? replaces, CancellationToken cancellationToken)
    {
        await before("put", name, cancellationToken);
        return await inner.PutAsync(name, content, replaces, cancellationToken);
    }

    public async Task<CheckpointBlob?> FindAsync(string name, CancellationToken cancellationToken)
    {
        await before("find", name, cancellationToken);
        return await inner.FindAsync(name, cancellationToken);
    }

    public async Task<int> ReadAsync(string name, long offset, Memory<byte> into, CancellationToken cancellationToken)
    {
        await before("read", name, cancellationToken);
        return await inner.ReadAsync(name, offset, into, cancellationToken);
    }

    public async IAsyncEnumerable<CheckpointBlob> ListAsync(string prefix, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await before("list", prefix, cancellationToken);
        await foreach (var blob in inner.ListAsync(prefix, cancellationToken))
            yield return blob;
    }

    public async Task DeleteAsync(string name, CancellationToken cancellationToken)
    {
        await before("delete", name, cancellationToken);
        await inner.DeleteAsync(name, cancellationToken);
    }

    public void Dispose()
    {
    }
}

using Orleans.Storage;

namespace Orleans.Runtime;

internal static class StorageNames
{
    public const string Default = "Default";
}

/// <summary>A state that its activation reads before it starts.</summary>
internal interface IReadableState
{
    Task ReadStateAsync();
}

/// <summary>Stands between a grain and its storage provider.</summary>
internal sealed class PersistentState<T>(string name, GrainId grainId, IGrainStorage storage)
    : IPersistentState<T>, IReadableState
{
    private readonly GrainState<T> _record = new(Activator.CreateInstance<T>());

    public T State
    {
        get => _record.State;
        set => _record.State = value;
    }

    public string? Etag => _record.ETag;

    public bool RecordExists => _record.RecordExists;

    public Task ReadStateAsync() => Guard(nameof(ReadStateAsync), () => storage.ReadStateAsync(name, grainId, _record));

    public Task WriteStateAsync() => Guard(nameof(WriteStateAsync), () => storage.WriteStateAsync(name, grainId, _record));

    public Task ClearStateAsync() => Guard(nameof(ClearStateAsync), () => storage.ClearStateAsync(name, grainId, _record));

    public Task ReadStateAsync(CancellationToken cancellationToken) => Checked(ReadStateAsync, cancellationToken);

    public Task WriteStateAsync(CancellationToken cancellationToken) => Checked(WriteStateAsync, cancellationToken);

    public Task ClearStateAsync(CancellationToken cancellationToken) => Checked(ClearStateAsync, cancellationToken);

    private static Task Checked(Func<Task> operation, CancellationToken cancellationToken) =>
        cancellationToken.IsCancellationRequested ? Task.FromCanceled(cancellationToken) : operation();

    private async Task Guard(string operation, Func<Task> work)
    {
        try
        {
            await work();
        }
        catch (Exception exception) when (exception is not OrleansException)
        {
            throw new OrleansException(
                $"Error from storage provider {storage.GetType().Name}.{name} during {operation} for grain {grainId}: {exception.Message}",
                exception);
        }
    }
}

namespace Grpc.Core;

/// <summary>A connection to one address.</summary>
public abstract class ChannelBase(string target)
{
    /// <summary>The address, as host and port.</summary>
    public string Target { get; } = target ?? throw new ArgumentNullException(nameof(target));

    public abstract CallInvoker CreateCallInvoker();

    /// <summary>Ends the channel and every call on it.</summary>
    public Task ShutdownAsync() => ShutdownAsyncCore();

    protected virtual Task ShutdownAsyncCore() => Task.CompletedTask;
}

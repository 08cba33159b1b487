using System.Globalization;
using Grpc.Core;

namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// What a gRPC server needs to know of the streams between peers. Handlers are virtual and declared on the type that binds them,
/// as in generated code: the official server finds them by name and insists on it.
/// </summary>
[BindServiceMethod(typeof(PeerServiceBase), nameof(BindService))]
internal abstract class PeerServiceBase
{
    /// <summary>Tells a gRPC server which methods this service has.</summary>
    public static void BindService(ServiceBinderBase binder, PeerServiceBase? service)
    {
        binder.AddMethod(PeerMethod.Exchange, service is null ? null : new DuplexStreamingServerMethod<PeerFrame, PeerFrame>(service.Exchange));
        binder.AddMethod(StateMethod.Giving, service is null ? null : new ServerStreamingServerMethod<StateRequest, StateChunk>(service.CopyState));
    }

    /// <summary>Serves a peer's stream until either side leaves.</summary>
    public abstract Task Exchange(
        IAsyncStreamReader<PeerFrame> requestStream, IServerStreamWriter<PeerFrame> responseStream, ServerCallContext context);

    /// <summary>Gives a peer a range of this rank's state.</summary>
    public abstract Task CopyState(StateRequest request, IServerStreamWriter<StateChunk> responseStream, ServerCallContext context);
}

/// <summary>The server's side of the streams between peers.</summary>
internal sealed class PeerService(PeerServer server) : PeerServiceBase
{
    /// <inheritdoc/>
    public override async Task Exchange(IAsyncStreamReader<PeerFrame> requestStream, IServerStreamWriter<PeerFrame> responseStream, ServerCallContext context)
    {
        var generation = Number(context, PeerMethod.GenerationKey);
        var collective = await server.FindAsync(generation, context.CancellationToken).ConfigureAwait(false);
        await collective.ServeAsync(
            (int)Number(context, PeerMethod.RankKey), (int)Number(context, PeerMethod.WorldKey), (int)Number(context, PeerMethod.TrafficKey),
            requestStream, responseStream, context).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public override async Task CopyState(StateRequest request, IServerStreamWriter<StateChunk> responseStream, ServerCallContext context)
    {
        var collective = await server.FindAsync(Number(context, PeerMethod.GenerationKey), context.CancellationToken).ConfigureAwait(false);
        await collective.GiveStateAsync(request, responseStream, context).ConfigureAwait(false);
    }

    private static long Number(ServerCallContext context, string key) =>
        long.TryParse(context.RequestHeaders.GetValue(key), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new RpcException(new Status(StatusCode.InvalidArgument, $"the header {key} is missing or no number"));
}

using Grpc.Net.Client;

namespace DarkMatter.Trainer.Collectives;

/// <summary>How peers are connected: what both ends of a stream agree on.</summary>
internal static class PeerTransport
{
    /// <summary>Bytes that may be on their way on a stream.</summary>
    public const int WindowBytes = 4 * 1024 * 1024;

    /// <summary>A peer is asked for a sign of life after so much silence …</summary>
    public static readonly TimeSpan KeepAliveDelay = TimeSpan.FromSeconds(5);

    /// <summary>… and has so long to give it.</summary>
    public static readonly TimeSpan KeepAliveTimeout = TimeSpan.FromSeconds(10);

    /// <summary>How long a stream of a generation that this trainer has not heard of waits.</summary>
    public static readonly TimeSpan GenerationPatience = TimeSpan.FromSeconds(30);

    /// <summary>A connection of its own: streams that share one would wait for each other's frames.</summary>
    public static GrpcChannel Connect(string address) => GrpcChannel.ForAddress(address, new GrpcChannelOptions
    {
        HttpHandler = new SocketsHttpHandler
        {
            InitialHttp2StreamWindowSize = WindowBytes,
            KeepAlivePingDelay = KeepAliveDelay,
            KeepAlivePingTimeout = KeepAliveTimeout,
            UseProxy = false,
        },
        DisposeHttpClient = true,
        MaxReceiveMessageSize = null,
        MaxSendMessageSize = null,
    });
}

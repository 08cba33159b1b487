using Grpc.Core;

namespace Grpc.Net.Client;

/// <summary>How a channel connects and what its messages may weigh.</summary>
public sealed class GrpcChannelOptions
{
    /// <summary>Whether to speak TLS. Default: what the address's scheme says.</summary>
    public ChannelCredentials? Credentials { get; set; }

    /// <summary>Bytes of the largest message to send; null (the default): no limit.</summary>
    public int? MaxSendMessageSize { get; set; }

    /// <summary>Bytes of the largest message to accept. Default: 4 MiB; null: no limit.</summary>
    public int? MaxReceiveMessageSize { get; set; } = Common.Wire.DefaultMaxReceiveBytes;

    /// <summary>What carries the calls, a <see cref="SocketsHttpHandler"/> with its keep-alive and windows. Default: a new one.</summary>
    public HttpMessageHandler? HttpHandler { get; set; }

    /// <summary>Whether disposing the channel disposes <see cref="HttpHandler"/>. Default: false; the channel's own is always disposed.</summary>
    public bool DisposeHttpClient { get; set; }
}

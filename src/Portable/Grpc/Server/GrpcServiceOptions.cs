namespace Grpc.AspNetCore.Server;

/// <summary>What messages of this server's calls may weigh and what its errors tell.</summary>
public class GrpcServiceOptions
{
    /// <summary>Bytes of the largest message to send; null (the default): no limit.</summary>
    public int? MaxSendMessageSize { get; set; }

    /// <summary>Bytes of the largest message to accept. Default: 4 MiB; null: no limit.</summary>
    public int? MaxReceiveMessageSize { get; set; } = Common.Wire.DefaultMaxReceiveBytes;

    /// <summary>Whether the caller sees the message of an unexpected exception. Default: no.</summary>
    public bool? EnableDetailedErrors { get; set; }
}

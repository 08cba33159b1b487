using System.Buffers;
using Grpc.Core;

namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// The first method that peers call on each other: a stream of frames each way. Frames are no protobuf: they are written straight from
/// the caller's memory and consumed straight from the received one.
/// </summary>
internal static class PeerMethod
{
    public const string Service = "darkmatter.v1.Peer";
    public const string GenerationKey = "dm-generation";
    public const string RankKey = "dm-rank";
    public const string WorldKey = "dm-world";
    public const string TrafficKey = "dm-traffic";

    private static readonly Marshaller<PeerFrame> FrameMarshaller = Marshallers.Create<PeerFrame>(
        static (frame, context) => frame.Write(context), static context => PeerLink.Receiving!.Receive(context.PayloadAsReadOnlySequence()));

    public static Method<PeerFrame, PeerFrame> Exchange { get; } =
        new(MethodType.DuplexStreaming, Service, nameof(Exchange), FrameMarshaller, FrameMarshaller);
}

/// <summary>A frame on its way out; of a received one only the fact remains, for its content is consumed while it is read.</summary>
internal sealed class PeerFrame
{
    public static readonly PeerFrame Received = new();

    private FrameHeader _header;
    private ReadOnlyMemory<byte> _payload;
    private Operation? _operation;

    /// <summary>Whether the content has left the caller's memory.</summary>
    public bool Written { get; private set; }

    public void Set(FrameHeader header, ReadOnlyMemory<byte> payload, Operation? operation) =>
        (_header, _payload, _operation, Written) = (header, payload, operation, false);

    public void Write(SerializationContext context)
    {
        if (_operation is null)
        {
            WriteContent(context);
            return;
        }

        // An aborted operation has given its memory back to the caller.
        lock (_operation.Gate)
        {
            _operation.ThrowIfClosed();
            WriteContent(context);
        }
    }

    private void WriteContent(SerializationContext context)
    {
        context.SetPayloadLength(FrameHeader.Bytes + _payload.Length);
        var writer = context.GetBufferWriter();
        _header.Write(writer.GetSpan(FrameHeader.Bytes));
        writer.Advance(FrameHeader.Bytes);
        writer.Write(_payload.Span);
        context.Complete();
        Written = true;
    }
}

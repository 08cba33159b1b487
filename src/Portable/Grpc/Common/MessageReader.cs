using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using Grpc.Core;

namespace Grpc.Common;

/// <summary>
/// Reads messages from a pipe. A deserializer sees the pipe's own memory; nothing is copied here. A malformed frame or one over the
/// limit is an <see cref="RpcException"/> with the status that the specification gives it.
/// </summary>
internal sealed class MessageReader(PipeReader pipe, int? maxBytes, string? encoding) : DeserializationContext
{
    private ReadOnlySequence<byte> _payload;

    public override int PayloadLength => (int)_payload.Length;

    public override ReadOnlySequence<byte> PayloadAsReadOnlySequence() => _payload;

    /// <summary>Reads the next message; false at the end of the stream.</summary>
    public async ValueTask<(bool HasMessage, T? Message)> ReadAsync<T>(
        Func<DeserializationContext, T> deserializer, CancellationToken cancellationToken)
    {
        var result = await pipe.ReadAtLeastAsync(Wire.PrefixBytes, cancellationToken).ConfigureAwait(false);
        if (result.Buffer.Length < Wire.PrefixBytes)
        {
            return result.Buffer.IsEmpty ? (false, default) : throw Incomplete();
        }

        var total = Wire.PrefixBytes + PayloadBytes(result.Buffer);
        if (result.Buffer.Length < total)
        {
            pipe.AdvanceTo(result.Buffer.Start, result.Buffer.End);
            result = await pipe.ReadAtLeastAsync(total, cancellationToken).ConfigureAwait(false);
            if (result.Buffer.Length < total)
            {
                throw Incomplete();
            }
        }

        var message = Deserialize(deserializer, result.Buffer.Slice(Wire.PrefixBytes, total - Wire.PrefixBytes));
        pipe.AdvanceTo(result.Buffer.GetPosition(total));
        return (true, message);
    }

    /// <summary>Reads the only message of a stream and its end.</summary>
    public async ValueTask<(bool HasMessage, T? Message)> ReadOnlyOneAsync<T>(
        Func<DeserializationContext, T> deserializer, CancellationToken cancellationToken)
    {
        var first = await ReadAsync(deserializer, cancellationToken).ConfigureAwait(false);
        if (first.HasMessage)
        {
            var rest = await pipe.ReadAsync(cancellationToken).ConfigureAwait(false);
            if (!rest.Buffer.IsEmpty)
            {
                throw Malformed(StatusCode.Internal, "Additional data after the only message of the stream.");
            }

            pipe.AdvanceTo(rest.Buffer.End);
        }

        return first;
    }

    private int PayloadBytes(ReadOnlySequence<byte> buffer)
    {
        Span<byte> prefix = stackalloc byte[Wire.PrefixBytes];
        buffer.Slice(0, Wire.PrefixBytes).CopyTo(prefix);
        if (prefix[0] != 0)
        {
            throw prefix[0] != 1
                ? Malformed(StatusCode.Internal, $"A message starts with the flag {prefix[0]}; it is 0 or 1.")
                : encoding is null or Wire.Identity
                    ? Malformed(StatusCode.Internal, "A message is marked as compressed, but the stream names no encoding.")
                    : Malformed(StatusCode.Unimplemented, $"A message is compressed with '{encoding}'; only 'identity' is accepted.");
        }

        var length = BinaryPrimitives.ReadUInt32BigEndian(prefix[1..]);
        var limit = Math.Min(maxBytes ?? int.MaxValue, Array.MaxLength);
        return length <= limit
            ? (int)length
            : throw Malformed(StatusCode.ResourceExhausted, $"A message of {length} bytes was received; at most {limit} are accepted (MaxReceiveMessageSize).");
    }

    private T Deserialize<T>(Func<DeserializationContext, T> deserializer, ReadOnlySequence<byte> payload)
    {
        _payload = payload;
        try
        {
            return deserializer(this);
        }
        catch (Exception exception) when (exception is not RpcException)
        {
            throw new RpcException(new Status(StatusCode.Internal, $"A message of {payload.Length} bytes could not be parsed.", exception));
        }
        finally
        {
            _payload = default;
        }
    }

    private static RpcException Incomplete() => Malformed(StatusCode.Internal, "The stream ended inside a message.");

    private static RpcException Malformed(StatusCode code, string detail) => new(new Status(code, detail));
}

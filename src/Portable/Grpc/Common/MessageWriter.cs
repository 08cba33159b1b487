using System.Buffers;
using System.Buffers.Binary;
using Grpc.Core;

namespace Grpc.Common;

/// <summary>
/// Serializes one message after the other, each with its prefix. With a target, a message of announced length goes straight into it;
/// all else goes through a pooled buffer.
/// </summary>
internal sealed class MessageWriter(int? maxBytes, IBufferWriter<byte>? target = null) : SerializationContext, IBufferWriter<byte>
{
    private const int FirstBufferBytes = 4096;

    private byte[]? _buffer;
    private int _end;
    private int? _announced;
    private bool _direct;
    private bool _complete;

    /// <summary>Serializes a message into the target, or into the memory that is returned. <see cref="Release"/> gives that back.</summary>
    public ReadOnlyMemory<byte> Write<T>(T message, Action<T, SerializationContext> serializer)
    {
        (_end, _announced, _direct, _complete) = (Wire.PrefixBytes, null, false, false);
        serializer(message, this);
        if (!_complete)
        {
            throw Invalid("did not call Complete");
        }

        if (_announced is { } announced && announced != _end - Wire.PrefixBytes)
        {
            throw Invalid($"announced {announced} bytes and wrote {_end - Wire.PrefixBytes}");
        }

        if (_direct)
        {
            return default;
        }

        CheckLimit(_end - Wire.PrefixBytes);
        Reserve(0);
        WritePrefix(_buffer, _end - Wire.PrefixBytes);
        if (target is null)
        {
            return _buffer.AsMemory(0, _end);
        }

        target.Write(_buffer.AsSpan(0, _end));
        Release();
        return default;
    }

    /// <summary>Whether the last message went into the target in part only, so that nothing can follow it.</summary>
    public bool IsPartial => _direct && (!_complete || _announced != _end - Wire.PrefixBytes);

    /// <summary>Gives the pooled buffer back.</summary>
    public void Release()
    {
        if (_buffer is { } buffer)
        {
            _buffer = null;
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    public override void SetPayloadLength(int payloadLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(payloadLength);
        CheckLimit(payloadLength);
        _announced = payloadLength;
    }

    public override IBufferWriter<byte> GetBufferWriter()
    {
        if (target is not null && _announced is { } length && !_direct)
        {
            _direct = true;
            WritePrefix(target.GetSpan(Wire.PrefixBytes), length);
            target.Advance(Wire.PrefixBytes);
        }

        return this;
    }

    public override void Complete(byte[] payload)
    {
        ArgumentNullException.ThrowIfNull(payload);
        SetPayloadLength(payload.Length);
        GetBufferWriter().Write(payload);
        Complete();
    }

    public override void Complete() => _complete = !_complete ? true : throw Invalid("called Complete twice");

    void IBufferWriter<byte>.Advance(int count)
    {
        _end += count;
        if (_direct)
        {
            target!.Advance(count);
        }
    }

    Memory<byte> IBufferWriter<byte>.GetMemory(int sizeHint)
    {
        if (_direct)
        {
            return target!.GetMemory(sizeHint);
        }

        Reserve(sizeHint);
        return _buffer.AsMemory(_end);
    }

    Span<byte> IBufferWriter<byte>.GetSpan(int sizeHint)
    {
        if (_direct)
        {
            return target!.GetSpan(sizeHint);
        }

        Reserve(sizeHint);
        return _buffer.AsSpan(_end);
    }

    private static void WritePrefix(Span<byte> prefix, int payloadBytes)
    {
        prefix[0] = 0;
        BinaryPrimitives.WriteInt32BigEndian(prefix[1..], payloadBytes);
    }

    private static InvalidOperationException Invalid(string what) =>
        new($"The message's serializer {what}. It announces the exact length or none, and completes once.");

    [System.Diagnostics.CodeAnalysis.MemberNotNull(nameof(_buffer))]
    private void Reserve(int sizeHint)
    {
        var wanted = Math.Max(sizeHint, 1);
        if (_buffer is null)
        {
            // One byte more than announced: a writer that asks for "at least one" at the end gets it without a second buffer.
            _buffer = ArrayPool<byte>.Shared.Rent(Math.Max(Wire.PrefixBytes + (_announced ?? FirstBufferBytes) + 1, _end + wanted));
        }
        else if (_buffer.Length - _end < wanted)
        {
            var larger = ArrayPool<byte>.Shared.Rent((int)Math.Min(Math.Max(2L * _buffer.Length, (long)_end + wanted), Array.MaxLength));
            _buffer.AsSpan(0, _end).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = larger;
        }
    }

    private void CheckLimit(int payloadBytes)
    {
        if (payloadBytes > (maxBytes ?? int.MaxValue))
        {
            throw new RpcException(new Status(
                StatusCode.ResourceExhausted, $"A message of {payloadBytes} bytes is to be sent; at most {maxBytes} are allowed (MaxSendMessageSize)."));
        }
    }
}

using System.Buffers;
using System.Buffers.Binary;
using DarkMatter.Trainer.Training;
using Grpc.Core;

namespace DarkMatter.Trainer.Collectives;

/// <summary>Which bytes of a state a rank asks for: offset and length, 8 bytes each, little endian.</summary>
internal sealed record StateRequest(long Offset, long Length)
{
    private const int Bytes = 16;

    public byte[] ToBytes()
    {
        var bytes = new byte[Bytes];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, Offset);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(8), Length);
        return bytes;
    }

    public static StateRequest Of(byte[] bytes) => bytes.Length == Bytes
        ? new StateRequest(BinaryPrimitives.ReadInt64LittleEndian(bytes), BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(8)))
        : throw new RpcException(new Status(StatusCode.InvalidArgument, $"a request for state has {Bytes} bytes, not {bytes.Length}"));
}

/// <summary>
/// The second method that peers call on each other: a stream of a state's bytes. A chunk is its offset (8 bytes), its
/// <see cref="StateHash"/> (8) and its bytes, written from the donor's tensors and read into the receiver's.
/// </summary>
internal static class StateMethod
{
    /// <summary>Bytes of state in a chunk.</summary>
    public const int ChunkBytes = 256 * 1024;

    private const string Name = "CopyState";
    private const int HeaderBytes = 16;

    private static readonly Marshaller<StateRequest> Requests = Marshallers.Create(request => request.ToBytes(), StateRequest.Of);

    /// <summary>As the donor sees it.</summary>
    public static Method<StateRequest, StateChunk> Giving { get; } = Create(
        Marshallers.Create<StateChunk>(Write, _ => throw new NotSupportedException("Donors send state, they receive none.")));

    /// <summary>As one receiver sees it: bytes go straight to where they belong.</summary>
    public static Method<StateRequest, StateChunk> Taking(StateReceipt receipt) => Create(Marshallers.Create<StateChunk>(
        (_, _) => throw new NotSupportedException("Receivers of state send none."), context => receipt.Take(context.PayloadAsReadOnlySequence())));

    private static Method<StateRequest, StateChunk> Create(Marshaller<StateChunk> chunks) =>
        new(MethodType.ServerStreaming, PeerMethod.Service, Name, Requests, chunks);

    private static void Write(StateChunk chunk, SerializationContext context)
    {
        context.SetPayloadLength(HeaderBytes + chunk.Length);
        var writer = context.GetBufferWriter();
        var target = writer.GetSpan(HeaderBytes + chunk.Length)[..(HeaderBytes + chunk.Length)];
        var bytes = target[HeaderBytes..];
        chunk.Offer.Read(chunk.Offset, bytes);
        BinaryPrimitives.WriteInt64LittleEndian(target, chunk.Offset);
        BinaryPrimitives.WriteUInt64LittleEndian(target[8..], StateHash.Of(bytes));
        writer.Advance(target.Length);
        context.Complete();
    }

    /// <summary>Where a receiver stands in a range.</summary>
    internal sealed class StateReceipt(StateMemory target, long offset, long end)
    {
        private long _next = offset;

        /// <summary>Whether every byte has come.</summary>
        public bool IsComplete => _next == end;

        /// <summary>Puts a chunk in its place.</summary>
        /// <exception cref="InvalidDataException">It is not the next one, or damaged.</exception>
        public StateChunk Take(in ReadOnlySequence<byte> message)
        {
            Span<byte> header = stackalloc byte[HeaderBytes];
            if (message.Length <= HeaderBytes || message.Length > HeaderBytes + ChunkBytes)
                throw new InvalidDataException($"a chunk of state has {message.Length} bytes");
            message.Slice(0, HeaderBytes).CopyTo(header);
            var (at, length) = (BinaryPrimitives.ReadInt64LittleEndian(header), (int)message.Length - HeaderBytes);
            if (at != _next || at + length > end)
                throw new InvalidDataException($"a chunk of state holds bytes {at} to {at + length} where {_next} to {end} were still to come");
            var buffer = ArrayPool<byte>.Shared.Rent(length);
            try
            {
                var bytes = buffer.AsSpan(0, length);
                message.Slice(HeaderBytes).CopyTo(bytes);
                if (StateHash.Of(bytes) != BinaryPrimitives.ReadUInt64LittleEndian(header[8..]))
                    throw new InvalidDataException($"bytes {at} to {at + length} of the state were damaged on their way");
                target.Write(at, bytes);
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }

            _next = at + length;
            return StateChunk.Taken;
        }
    }
}

/// <summary>A chunk on its way out; of a received one only the fact remains.</summary>
internal sealed record StateChunk(StateOffer Offer, long Offset, int Length)
{
    public static readonly StateChunk Taken = new(null!, 0, 0);
}

/// <summary>A state that others may read for now.</summary>
internal sealed class StateOffer(StateMemory memory, Action<StateOffer> withdrawn) : IDisposable
{
    private readonly ReaderWriterLockSlim _gate = new();
    private bool _open = true;

    public long Bytes { get; } = memory.Bytes;

    /// <exception cref="OperationCanceledException">The offer is over.</exception>
    public void Read(long offset, Span<byte> target)
    {
        _gate.EnterReadLock();
        try
        {
            if (!_open)
                throw new OperationCanceledException("The state is not offered any more.");
            memory.Read(offset, target);
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    /// <summary>Once this returns, nobody reads the state any more.</summary>
    public void Dispose()
    {
        _gate.EnterWriteLock();
        _open = false;
        _gate.ExitWriteLock();
        withdrawn(this);
    }
}

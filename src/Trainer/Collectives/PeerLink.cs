using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using Grpc.Core;

namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// One stream to one peer. Frames of a call that this rank has begun go to it at once; those of a call to come are kept, up to a
/// bound; beyond it nothing is read and flow control holds the peer back.
/// </summary>
[SuppressMessage("Reliability", "CA1001", Justification = "A SemaphoreSlim whose wait handle is never asked for holds nothing to dispose.")]
internal sealed class PeerLink(int peer, Traffic traffic, IAsyncStreamWriter<PeerFrame> writer, CollectiveOptions options)
{
    // The deserializer of a gRPC method does not know its call; the context of the loop that reads the stream does.
    private static readonly AsyncLocal<PeerLink?> Current = new();

    private readonly object _gate = new();
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly PeerFrame _out = new();
    private readonly Queue<KeptFrame> _kept = new();
    private long _keptBytes;
    private TaskCompletionSource? _room;

    /// <summary>The link whose stream the running code reads.</summary>
    public static PeerLink? Receiving => Current.Value;

    public int Peer { get; } = peer;

    public Traffic Traffic { get; } = traffic;

    /// <summary>Whether the peer has left in good order.</summary>
    public bool PeerLeft { get; private set; }

    /// <summary>Reads the stream until its end.</summary>
    public async Task ReceiveAsync(IAsyncStreamReader<PeerFrame> reader, CancellationToken cancellationToken)
    {
        Current.Value = this;
        while (await reader.MoveNext(cancellationToken).ConfigureAwait(false))
        {
            if (Volatile.Read(ref _room) is { } room)
            {
                await room.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>
    /// Writes a frame. The task ends when flow control has accepted it. Only one caller writes at a time, but control frames may come
    /// between.
    /// </summary>
    public async Task WriteAsync(FrameHeader header, ReadOnlyMemory<byte> payload, Operation? operation, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            _out.Set(header, payload, operation);
            var write = writer.WriteAsync(_out, CancellationToken.None);
            if (_out.Written)
            {
                operation?.Wrote();
            }

            await write.ConfigureAwait(false);
            if (!_out.Written)
            {
                throw new InvalidOperationException("The gRPC stack accepted a frame without serializing it.");
            }
        }
        finally
        {
            _writing.Release();
        }
    }

    /// <summary>Consumes a received message while its memory is valid.</summary>
    public PeerFrame Receive(ReadOnlySequence<byte> message)
    {
        try
        {
            var header = FrameHeader.Read(message);
            var payload = message.Slice(FrameHeader.Bytes);
            switch (header.Kind)
            {
                case FrameKind.Abort:
                    Traffic.Owner.AbortedByPeer(Peer, header.Index, System.Text.Encoding.UTF8.GetString(payload.ToArray()));
                    break;
                case FrameKind.Working:
                    Traffic.Owner.PeerWorks(Peer, header.Index);
                    break;
                case FrameKind.Leave:
                    PeerLeft = true;
                    Traffic.AbortOperationsThatNeed(Peer);
                    break;
                default:
                    Deliver(header, payload);
                    break;
            }
        }
        catch (Exception exception)
        {
            AbortBecauseOf(exception);
        }

        return PeerFrame.Received;
    }

    /// <summary>Gives a call that has begun the frames that came before it.</summary>
    public void DeliverKept(Operation operation)
    {
        lock (_gate)
        {
            while (_kept.TryPeek(out var frame) && frame.Header.Sequence == operation.Sequence)
            {
                _kept.Dequeue();
                _keptBytes -= frame.Header.Length;
                try
                {
                    operation.Receive(Peer, frame.Header, new ReadOnlySequence<byte>(frame.Buffer, 0, frame.Header.Length));
                }
                catch (InvalidDataException exception)
                {
                    AbortBecauseOf(exception);
                }

                ArrayPool<byte>.Shared.Return(frame.Buffer);
            }

            if (_room is { } room && _keptBytes <= options.ReadAheadBytes / 2)
            {
                _room = null;
                room.SetResult();
            }
        }
    }

    private void AbortBecauseOf(Exception exception) =>
        Traffic.Owner.Abort($"Rank {Traffic.Owner.Rank} cannot go on after a frame of rank {Peer}: {exception.Message}", Peer, exception);

    private void Deliver(FrameHeader header, in ReadOnlySequence<byte> payload)
    {
        if (header.Generation != Traffic.Owner.Generation)
        {
            throw new InvalidDataException($"it belongs to generation {header.Generation}, not to {Traffic.Owner.Generation}.");
        }

        lock (_gate)
        {
            // What was kept goes first; the call that has begun meanwhile is about to fetch it, and this frame with it.
            if (_kept.Count == 0 && Traffic.Find(header.Sequence) is { } operation)
            {
                operation.Receive(Peer, header, payload);
                return;
            }

            var buffer = ArrayPool<byte>.Shared.Rent(Math.Max(header.Length, 1));
            payload.CopyTo(buffer);
            _kept.Enqueue(new KeptFrame(header, buffer));
            _keptBytes += header.Length;
            if (_keptBytes > options.ReadAheadBytes)
            {
                _room ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }
    }

    private readonly record struct KeptFrame(FrameHeader Header, byte[] Buffer);
}

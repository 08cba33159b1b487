using System.Buffers;
using System.Diagnostics.CodeAnalysis;

namespace DarkMatter.Trainer.Collectives;

/// <summary>Does what a <see cref="RingPlan"/> says: takes pieces from rank − 1 and sends pieces to rank + 1.</summary>
[SuppressMessage("Reliability", "CA1001", Justification = "A SemaphoreSlim whose wait handle is never asked for holds nothing to dispose.")]
internal sealed class RingOperation(FrameKind kind, long sequence, string name, int world, int rank, RingPlan plan, Memory<byte> buffer)
    : Operation(kind, sequence, buffer.Length, name)
{
    private readonly SemaphoreSlim _mayForward = new(0);
    private readonly int _previous = (rank + world - 1) % world;
    private readonly int _next = (rank + 1) % world;
    private int _received;

    /// <inheritdoc/>
    public override int? MissingRank => HasReceivedAll ? null : _previous;

    protected override int FramesToSend => plan.Sent.Count;

    protected override bool HasReceivedAll => _received == plan.Received.Count;

    /// <inheritdoc/>
    public override bool Needs(int peer) => peer == _previous && !HasReceivedAll;

    /// <inheritdoc/>
    public override async Task SendAsync(Traffic traffic, CancellationToken cancellationToken)
    {
        // Nothing to send (a sum of fewer elements than ranks may leave a rank without pieces): the peer may already be gone.
        if (plan.Sent.Count == 0)
        {
            return;
        }

        var link = traffic.Link(_next);
        for (var i = 0; i < plan.Sent.Count; i++)
        {
            if (i >= plan.OwnPieces)
            {
                await _mayForward.WaitAsync(cancellationToken).ConfigureAwait(false);
            }

            var piece = plan.Sent[i];
            var header = new FrameHeader(Kind, traffic.Owner.Generation, Sequence, i, TotalBytes, piece.Bytes);
            await link.WriteAsync(header, buffer.Slice(piece.Offset, piece.Bytes), this, cancellationToken).ConfigureAwait(false);
        }
    }

    protected override void Take(int peer, in FrameHeader header, in ReadOnlySequence<byte> payload)
    {
        if (peer != _previous || header.Index != _received || HasReceivedAll || plan.Received[_received].Bytes != header.Length)
        {
            throw new InvalidDataException($"it is piece {header.Index} of {header.Length} bytes, not piece {_received} of the ring's plan.");
        }

        var piece = plan.Received[_received++];
        var target = buffer.Span.Slice(piece.Offset, piece.Bytes);
        if (piece.Add)
        {
            Reduction.Add(Kind, target, payload);
        }
        else
        {
            payload.CopyTo(target);
        }

        _mayForward.Release();
    }
}

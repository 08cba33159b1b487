using System.Buffers;

namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// Every rank sends its part to every other: one hop. The parts are summed in rank order, or stay where they were received.
/// </summary>
internal sealed class ExchangeOperation : Operation
{
    private readonly int _rank;
    private readonly int _pieceBytes;
    private readonly Memory<byte> _mine;
    private readonly Memory<byte>[] _parts;
    private readonly int[] _receivedBytes;
    private readonly bool[] _done;
    private readonly byte[]? _scratch;
    private int _missing;

    private ExchangeOperation(
        FrameKind kind, long sequence, string name, int rank, int pieceBytes, Memory<byte> mine, Memory<byte>[] parts, long total, byte[]? scratch)
        : base(kind, sequence, total, name)
    {
        (_rank, _pieceBytes, _mine, _parts, _scratch) = (rank, pieceBytes, mine, parts, scratch);
        _receivedBytes = new int[parts.Length];
        _done = new bool[parts.Length];
        _done[rank] = true;
        _missing = parts.Length - 1;
    }

    /// <inheritdoc/>
    public override int? MissingRank => Array.IndexOf(_done, false) is >= 0 and var rank ? rank : null;

    protected override int FramesToSend => (_parts.Length - 1) * Frames(_mine.Length);

    protected override bool HasReceivedAll => _missing == 0;

    /// <summary>A sum over the ranks, in place.</summary>
    public static ExchangeOperation ForSum(FrameKind kind, long sequence, string name, int world, int rank, int pieceBytes, Memory<byte> buffer)
    {
        var scratch = ArrayPool<byte>.Shared.Rent(Math.Max(world * buffer.Length, 1));
        var parts = new Memory<byte>[world];
        for (var r = 0; r < world; r++)
        {
            parts[r] = r == rank ? buffer : scratch.AsMemory(r * buffer.Length, buffer.Length);
        }

        return new ExchangeOperation(kind, sequence, name, rank, pieceBytes, buffer, parts, buffer.Length, scratch);
    }

    /// <summary>A concatenation: rank r's part is received straight into its place.</summary>
    public static ExchangeOperation ForGather(
        FrameKind kind, long sequence, string name, int rank, int pieceBytes, Memory<byte> mine, Memory<byte> all, ReadOnlySpan<int> counts)
    {
        var parts = new Memory<byte>[counts.Length];
        var offset = 0;
        for (var r = 0; r < counts.Length; r++)
        {
            parts[r] = all.Slice(offset, counts[r]);
            offset += counts[r];
        }

        return new ExchangeOperation(kind, sequence, name, rank, pieceBytes, mine, parts, all.Length, null);
    }

    /// <inheritdoc/>
    public override bool Needs(int peer) => !_done[peer];

    /// <inheritdoc/>
    public override async Task SendAsync(Traffic traffic, CancellationToken cancellationToken)
    {
        for (var index = 0; index < Frames(_mine.Length); index++)
        {
            var offset = index * _pieceBytes;
            var piece = _mine.Slice(offset, Math.Min(_pieceBytes, _mine.Length - offset));
            var header = new FrameHeader(Kind, traffic.Owner.Generation, Sequence, index, TotalBytes, piece.Length);
            for (var hop = 1; hop < _parts.Length; hop++)
            {
                // Each rank begins with its neighbour, so that no peer is everyone's first.
                await traffic.Link((_rank + hop) % _parts.Length).WriteAsync(header, piece, this, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    protected override void Take(int peer, in FrameHeader header, in ReadOnlySequence<byte> payload)
    {
        var part = _parts[peer].Span;
        var offset = _receivedBytes[peer];
        if (_done[peer] || header.Index != offset / _pieceBytes || header.Length != Math.Min(_pieceBytes, part.Length - offset))
        {
            throw new InvalidDataException(
                $"it is piece {header.Index} of {header.Length} bytes where {part.Length - offset} of {part.Length} bytes were still to come: the ranks disagree on the parts.");
        }

        payload.CopyTo(part[offset..]);
        _receivedBytes[peer] = offset + header.Length;
        if (_receivedBytes[peer] == part.Length)
        {
            _done[peer] = true;
            _missing--;
        }
    }

    protected override void Finish()
    {
        if (_scratch is null)
        {
            return;
        }

        var total = _parts[0].Span;
        for (var r = 1; r < _parts.Length; r++)
        {
            Reduction.Add(Kind, total, _parts[r].Span);
        }

        if (_rank != 0)
        {
            total.CopyTo(_mine.Span);
        }

        ArrayPool<byte>.Shared.Return(_scratch);
    }

    // An empty part is one empty frame: it says that its rank has come.
    private int Frames(int bytes) => Math.Max(1, (bytes + _pieceBytes - 1) / _pieceBytes);
}

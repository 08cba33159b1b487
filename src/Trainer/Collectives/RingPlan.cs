namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// Who sends which piece of a buffer when, on a ring where rank r sends to r + 1. Pure: it knows no network and no memory.
/// <para>
/// The buffer is cut into one segment per rank. To sum, W − 1 steps send each segment once around, every rank adding its own, and
/// W − 1 further steps send the finished segments around; to gather, only the latter are needed. A segment starts its way at the
/// same rank always, so the order of the additions depends on nothing but W, and one rank computes each element of the result: it
/// is bit-identical everywhere.
/// </para>
/// Source: P. Patarasuk and X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009.
/// </summary>
public sealed class RingPlan
{
    private readonly RingPiece[] _received;
    private readonly RingPiece[] _sent;

    private RingPlan(int world, int rank, ReadOnlySpan<int> segments, int pieceBytes, bool sum)
    {
        var starts = new int[world];
        for (var i = 1; i < world; i++)
        {
            starts[i] = starts[i - 1] + segments[i - 1];
        }

        // Segment s is first sent by rank s; after `sum` it is complete at rank s − 1, where the gather goes on.
        var received = new List<RingPiece>();
        var steps = sum ? 2 * (world - 1) : world - 1;
        var own = world == 1 ? [] : Pieces(starts[rank], segments[rank], pieceBytes, add: false);
        var lastStepPieces = 0;
        for (var step = 0; step < steps; step++)
        {
            var segment = Modulo(rank - step - 1, world);
            var pieces = Pieces(starts[segment], segments[segment], pieceBytes, add: sum && step < world - 1);
            received.AddRange(pieces);
            lastStepPieces = pieces.Count;
        }

        _received = [.. received];

        // What a step receives, the next one sends; what the last step received has been everywhere.
        _sent = [.. own, .. received.Take(received.Count - lastStepPieces)];
        OwnPieces = own.Count;
    }

    /// <summary>The pieces that this rank receives from rank − 1, in order.</summary>
    public IReadOnlyList<RingPiece> Received => _received;

    /// <summary>The pieces that this rank sends to rank + 1, in order.</summary>
    public IReadOnlyList<RingPiece> Sent => _sent;

    /// <summary>So many of the first sends need nothing received; send i ≥ OwnPieces goes once piece i − OwnPieces was received.</summary>
    public int OwnPieces { get; }

    /// <summary>The plan of a sum of <paramref name="elements"/> elements over all ranks.</summary>
    public static RingPlan ForSum(int world, int rank, int elements, int elementBytes, int pieceBytes)
    {
        Check(world, rank, pieceBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(elements);
        var segments = new int[world];
        for (var i = 0; i < world; i++)
        {
            segments[i] = (int)(((i + 1L) * elements / world) - ((long)i * elements / world)) * elementBytes;
        }

        return new RingPlan(world, rank, segments, pieceBytes / elementBytes * elementBytes, sum: true);
    }

    /// <summary>The plan of a gather where rank r contributes <c>counts[r]</c> bytes.</summary>
    public static RingPlan ForGather(int rank, ReadOnlySpan<int> counts, int pieceBytes)
    {
        Check(counts.Length, rank, pieceBytes);
        return new RingPlan(counts.Length, rank, counts, pieceBytes, sum: false);
    }

    private static void Check(int world, int rank, int pieceBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(world, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, world);
        ArgumentOutOfRangeException.ThrowIfLessThan(pieceBytes, sizeof(double));
    }

    private static List<RingPiece> Pieces(int offset, int bytes, int pieceBytes, bool add)
    {
        var pieces = new List<RingPiece>();
        for (var done = 0; done < bytes; done += pieceBytes)
        {
            pieces.Add(new RingPiece(offset + done, Math.Min(pieceBytes, bytes - done), add));
        }

        return pieces;
    }

    private static int Modulo(int value, int world) => ((value % world) + world) % world;
}

/// <summary>A piece of a buffer that one frame carries.</summary>
/// <param name="Offset">Bytes from the buffer's start.</param>
/// <param name="Bytes">Its length; never 0.</param>
/// <param name="Add">Whether the receiver adds it to what it has, or puts it there.</param>
public readonly record struct RingPiece(int Offset, int Bytes, bool Add);

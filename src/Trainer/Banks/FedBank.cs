using DarkMatter.Protocol;
using Google.Protobuf;

namespace DarkMatter.Trainer.Banks;

/// <summary>
/// What one bank still has to send, kept until the silo has all of it: the rows of the newest steps, bounded. Used by the training thread and by the
/// sender, under the feed's lock.
/// </summary>
internal sealed class FedBank(string name, Bank bank)
{
    /// <summary>Bytes of rows that wait for the silo; beyond it all go, and rank 0 gives the silo the rows whole.</summary>
    public const long MostBytes = 64 << 20;

    /// <summary>Bytes of a partition that one message carries.</summary>
    public const int SeedBytes = 1 << 20;

    /// <summary>Bytes that one message appends, unless a single lane has more.</summary>
    public const int AppendBytes = 2 << 20;

    /// <summary>Bytes that a lane may write in a step: a message carries at least one lane whole, and the silo takes none above 4 MiB.</summary>
    public const int MostLaneBytes = 3 << 20;

    /// <summary>Bytes of a place in a message, at most: 35 bits in sevens.</summary>
    private const int PlaceBytes = 5;

    private readonly LinkedList<(long Update, long[] Places, byte[] Rows)> _waiting = new();
    private readonly SortedSet<int> _wanted = [];
    private long _bytes;
    private long _sent = -1;
    private long _answered = -1;
    private long _start;
    private long _newest;

    public string Name => name;

    /// <summary>Whether rows of this rank's lanes were not sent yet, or not answered. What other ranks send is theirs to wait for.</summary>
    public bool Waits => _waiting.Last is { } last && last.Value.Update > _answered;

    /// <summary>Bytes that the widest of a bank's lanes writes in a step.</summary>
    public static long LaneBytes(Bank bank, int lanes) => (bank.Batch + lanes - 1L) / lanes * (bank.RowBytes + PlaceBytes);

    /// <summary>The message that opens the bank in a generation.</summary>
    public BankMessage Opening(int lanes, long generation, string run) => new()
    {
        Run = run,
        Bank = name,
        Generation = generation,
        Step = _start,
        Open = new BankOpening { Rows = bank.Length, RowBytes = bank.RowBytes, Lanes = lanes },
    };

    /// <summary>A generation begins with the rows that are visible now.</summary>
    public void Begin(bool healed)
    {
        (_start, _newest) = (bank.Visible, bank.Visible);
        while (_waiting.Last is { } last && (healed || last.Value.Update > _start))
        {
            Drop(last);
        }

        Reopen();
    }

    /// <summary>On a new stream everything is sent again that the silo may lack.</summary>
    public void Reopen()
    {
        _wanted.Clear();
        (_sent, _answered) = (-1, -1);
    }

    /// <summary>Takes what became visible.</summary>
    public void Take()
    {
        if (bank.Newest is not { } newest)
        {
            return;
        }

        var rows = bank.HostBytes(newest.Rows);
        _newest = newest.Update;
        _waiting.AddLast((newest.Update, newest.Places, rows));
        _bytes += rows.Length;
        if (_bytes > MostBytes)
        {
            // The silo needs the oldest first, and without it can do nothing with the rest.
            _waiting.Clear();
            _bytes = 0;
        }
    }

    /// <summary>
    /// The rows of the next update that the silo may lack; none where there is none. Of updates before this generation rank 0 sends all lanes: whose they
    /// were may be gone.
    /// </summary>
    public (long Update, List<BankAppend> Parts) NextAppend(BankPlace place)
    {
        var next = _waiting.FirstOrDefault(w => w.Update > _sent);
        if (next.Rows is null)
            return (0, []);
        _sent = next.Update;
        var all = place.Rank == 0 && next.Update <= _start;
        var parts = new List<BankAppend>();
        long bytes = 0;
        foreach (var lane in all ? Enumerable.Range(0, place.LaneCount) : Enumerable.Range(place.FirstLane, place.Lanes))
        {
            var rows = Lane(lane, next.Places, next.Rows, place.LaneCount);
            var size = rows.CalculateSize();
            if (parts.Count == 0 || bytes + size > AppendBytes)
            {
                parts.Add(new BankAppend());
                bytes = 0;
            }

            parts[^1].Lanes.Add(rows);
            bytes += size;
        }

        return (next.Update, parts);
    }

    /// <summary>The parts of a partition that the silo wants, as it is now; none where it wants none.</summary>
    public (long Update, List<BankSeedPart> Parts) NextSeed()
    {
        if (_wanted.Count == 0)
            return (0, []);
        var partition = _wanted.Min;
        _wanted.Remove(partition);
        var (update, rows) = bank.Snapshot((long)partition * Shape.PartitionRows, Shape.RowsOf(partition));
        var each = Math.Max(1, SeedBytes / bank.RowBytes) * bank.RowBytes;
        var (parts, from) = (new List<BankSeedPart>(), 0);
        for (var at = 0; at < rows.Length; at += each)
        {
            var piece = rows.AsMemory(at, Math.Min(each, rows.Length - at));
            var (first, ends) = (at / bank.RowBytes, at + each >= rows.Length);
            // Rows of zeros are what a partition has that was given nothing.
            if (at > 0 && !ends && !piece.Span.ContainsAnyExcept((byte)0))
                continue;
            parts.Add(new BankSeedPart { Partition = partition, From = from, First = first, Rows = UnsafeByteOperations.UnsafeWrap(piece), Begins = at == 0, Ends = ends });
            from = first + (piece.Length / bank.RowBytes);
        }

        return (update, parts);
    }

    /// <summary>All of this rank's rows of an update were answered.</summary>
    public void Answered(long update) => _answered = Math.Max(_answered, update);

    /// <summary>The silo has said where it stands.</summary>
    /// <param name="state">Its words.</param>
    /// <param name="message">What it answers.</param>
    /// <param name="place">Rank 0 gives it what it lacks.</param>
    public void Heard(BankState state, BankMessage message, BankPlace place)
    {
        while (_waiting.First is { } first && first.Value.Update <= state.Step)
            Drop(first);
        if (place.Rank != 0 || message.Seed is { Ends: false })
            return;
        _wanted.UnionWith(state.Wanted);
        // All partitions have said where they stand, and the update that the silo needs next is none that this rank can send: it was a lost rank's, this
        // rank is new, or too much waited. (What another rank did not keep the silo misses after some steps, and asks for.)
        var lost = state.Step < _newest && _waiting.First?.Value.Update != state.Step + 1;
        if (lost && (message.Open is not null || (message.Append is not null && _wanted.Count == 0)))
            _wanted.UnionWith(Enumerable.Range(0, Shape.Partitions));
    }

    private Grains.BankShape Shape => new(bank.Length, bank.RowBytes, 1);

    private BankLaneRows Lane(int lane, long[] places, byte[] rows, int lanes)
    {
        var (first, count) = (lane * places.Length / lanes, ((lane + 1) * places.Length / lanes) - (lane * places.Length / lanes));
        var mine = places.AsSpan(first, count);
        var message = new BankLaneRows { Lane = lane, Rows = UnsafeByteOperations.UnsafeWrap(rows.AsMemory(first * bank.RowBytes, count * bank.RowBytes)) };
        if (IsRow(mine))
            message.FirstPlace = count == 0 ? 0 : mine[0];
        else
            message.Places.AddRange(mine.ToArray());
        return message;
    }

    private static bool IsRow(ReadOnlySpan<long> places)
    {
        for (var i = 1; i < places.Length; i++)
        {
            if (places[i] != places[0] + i)
                return false;
        }

        return true;
    }

    private void Drop(LinkedListNode<(long Update, long[] Places, byte[] Rows)> node)
    {
        _bytes -= node.Value.Rows.Length;
        _waiting.Remove(node);
    }
}

/// <summary>Where a trainer stands in a generation.</summary>
internal sealed record BankPlace(long Generation, int Rank, int FirstLane, int Lanes, int LaneCount);

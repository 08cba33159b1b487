using DarkMatter.Protocol;
using Google.Protobuf;

namespace DarkMatter.Trainer.Banks;

/// <summary>
/// What one bank still has to send, kept until the silo has all of it: the rows of the newest steps, bounded, and at most one copied partition. Used by
/// the training thread and by the sender, under the feed's lock.
/// </summary>
internal sealed class FedBank(string name, Bank bank)
{
    /// <summary>Bytes of rows that wait for the silo; beyond it the oldest go, and the silo asks for the rows whole.</summary>
    public const long MostBytes = 64 << 20;

    /// <summary>Bytes of a partition that one message carries.</summary>
    public const int SeedBytes = 1 << 20;

    /// <summary>Bytes of rows that one message appends, unless a single lane has more.</summary>
    public const int AppendBytes = 2 << 20;

    private readonly LinkedList<(long Update, long[] Places, byte[] Rows)> _waiting = new();
    private (int Partition, long Update, byte[] Rows)? _copied;
    private int? _wanted;
    private long _bytes;
    private long _sent = -1;
    private long _start;

    public string Name => name;

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
        _start = bank.Visible;
        while (_waiting.Last is { } last && (healed || last.Value.Update > _start))
        {
            Drop(last);
        }

        (_copied, _wanted) = (null, null);
        Reopen();
    }

    /// <summary>On a new stream everything is sent again that the silo may lack.</summary>
    public void Reopen() => _sent = -1;

    /// <summary>Takes what became visible; copies a partition if the silo wants one.</summary>
    public void Take()
    {
        if (bank.Newest is not { } newest)
        {
            return;
        }

        var rows = bank.HostBytes(newest.Rows);
        _waiting.AddLast((newest.Update, newest.Places, rows));
        _bytes += rows.Length;
        while (_bytes > MostBytes)
        {
            Drop(_waiting.First!);
        }

        if (_wanted is { } partition && _copied is null)
        {
            var each = PartitionRows;
            var first = (long)partition * each;
            _copied = (partition, newest.Update, bank.HostRows(first, (int)Math.Min(each, bank.Length - first)));
            _wanted = null;
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
            if (parts.Count == 0 || bytes + rows.Rows.Length > AppendBytes)
            {
                parts.Add(new BankAppend());
                bytes = 0;
            }

            parts[^1].Lanes.Add(rows);
            bytes += rows.Rows.Length;
        }

        return (next.Update, parts);
    }

    /// <summary>The parts of the copied partition; none where none is.</summary>
    public (long Update, List<BankSeedPart> Parts) NextSeed()
    {
        if (_copied is not { } copy)
        {
            return (0, []);
        }

        _copied = null;
        var each = Math.Max(1, SeedBytes / bank.RowBytes) * bank.RowBytes;
        var parts = new List<BankSeedPart>();
        for (var at = 0; at < copy.Rows.Length; at += each)
        {
            var piece = copy.Rows.AsMemory(at, Math.Min(each, copy.Rows.Length - at));
            var ends = at + each >= copy.Rows.Length;
            // Rows of zeros are what a partition has that was given nothing.
            if (at == 0 || ends || piece.Span.ContainsAnyExcept((byte)0))
                parts.Add(new BankSeedPart { Partition = copy.Partition, First = at / bank.RowBytes, Rows = UnsafeByteOperations.UnsafeWrap(piece), Begins = at == 0, Ends = ends });
        }

        return (copy.Update, parts);
    }

    /// <summary>The silo has said where it stands.</summary>
    /// <param name="state">Its words.</param>
    /// <param name="asks">Whether this rank heeds what the silo wants.</param>
    public void Heard(BankState state, bool asks)
    {
        while (_waiting.First is { } first && first.Value.Update <= state.Step)
        {
            Drop(first);
        }

        if (asks && _copied is null)
        {
            _wanted = state.Wanted.Count > 0 ? state.Wanted[0] : null;
        }
    }

    private int PartitionRows => new Grains.BankShape(bank.Length, bank.RowBytes, 1).PartitionRows;

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

namespace DarkMatter.Grains;

/// <summary>
/// The decisions and rows of one partition of a bank, without clock, storage or network. Steps become visible whole and in order, whatever order their
/// lanes' rows come in and however often; a generation that is over changes nothing; steps that a new generation does not have are taken back.
/// <c>BankGrain</c> hosts it.
/// </summary>
public sealed class Bank
{
    /// <summary>Steps that may wait for one before them. Ranks are at most one step apart, and what they send is at most so far behind.</summary>
    public const int MostWaiting = 32;

    /// <summary>Steps that can be taken back. Ranks differ by one at most; whoever goes back further gives the rows whole.</summary>
    public const int History = 4;

    private const int BlockRows = 1024;

    private readonly SortedDictionary<long, SortedDictionary<int, BankLane>> _waiting = [];
    private readonly LinkedList<(long Step, List<(int Place, byte[] Row)> Before)> _history = new();
    private readonly byte[] _zeros;
    private readonly int _rows;
    private readonly long _life;
    private byte[]?[] _blocks;
    private long[] _changed;
    private Seeding? _seeding;

    /// <summary>An empty partition.</summary>
    /// <param name="shape">Of the bank.</param>
    /// <param name="partition">Which one.</param>
    /// <param name="generation">Older ones are refused.</param>
    /// <param name="life">A value no other life of this partition has.</param>
    public Bank(BankShape shape, int partition, long generation, long life)
    {
        (Shape, _rows, Generation, _life) = (shape, shape.RowsOf(partition), generation, life);
        (_zeros, _blocks, _changed) = (new byte[shape.RowBytes], NewBlocks(), new long[_rows]);
    }

    /// <summary>Of the bank.</summary>
    public BankShape Shape { get; }

    /// <summary>The generation that may write.</summary>
    public long Generation { get; private set; }

    /// <summary>Updates whose rows are all there; −1: none, the partition must be given its rows whole.</summary>
    public long Step { get; private set; } = -1;

    /// <summary>Grows with every change that readers can see.</summary>
    public long Version { get; private set; } = 1;

    /// <summary>Memory taken by rows: only blocks that were written exist.</summary>
    public long Bytes => _blocks.Sum(block => (long)(block?.Length ?? 0));

    /// <summary>The grain key of a partition.</summary>
    public static string KeyOf(string run, string bank, int partition) => FormattableString.Invariant($"{run}/{bank}/{partition:D4}");

    /// <summary>A generation begins to write at a step. Steps beyond it are taken back.</summary>
    public BankStatus Begin(long generation, long step)
    {
        if (generation < Generation)
        {
            return Stale(generation);
        }

        if (generation > Generation)
        {
            Generation = generation;
            _waiting.Clear();
            _seeding = null;
            TakeBack(step);
        }

        return Status();
    }

    /// <summary>Rows of one step of some lanes.</summary>
    public BankStatus Append(long generation, long step, IReadOnlyList<BankLane> lanes)
    {
        if (Refuse(generation) is { } refused)
        {
            return refused;
        }

        if (lanes.FirstOrDefault(l => l.Lane < 0 || l.Lane >= Shape.Lanes || l.Rows.Length != (long)l.Places.Length * Shape.RowBytes || l.Places.Any(p => p < 0 || p >= _rows)) is { } bad)
        {
            return Refused(
                Refusal.InvalidArgument,
                $"lane {bad.Lane} of step {step} gives {bad.Places.Length} rows in {bad.Rows.Length} bytes; the partition has {_rows} rows of {Shape.RowBytes} bytes and the run lanes 0 to {Shape.Lanes - 1}");
        }

        if (step > Step)
        {
            if (!_waiting.TryGetValue(step, out var given))
            {
                _waiting.Add(step, given = []);
            }

            foreach (var lane in lanes)
            {
                given.TryAdd(lane.Lane, lane);
            }

            ApplyWhole();
            if (_waiting.Count > MostWaiting)
            {
                // What it waits for is lost; the seed that will come is newer than this.
                _waiting.Remove(_waiting.First().Key);
            }
        }

        return Status();
    }

    /// <summary>
    /// Rows that the partition is given whole. All ranks of a generation have the same rows of a step, so parts of one step fit together whatever stream
    /// they come on and however often; a part of another step, or one before which a part is missing, is refused. A seed that is older than what is there
    /// changes nothing.
    /// </summary>
    public BankStatus Seed(long generation, BankSeed seed)
    {
        if (Refuse(generation) is { } refused)
        {
            return refused;
        }

        int rows = seed.Rows.Length / Shape.RowBytes;
        if (seed.Step < 0 || seed.Rows.Length % Shape.RowBytes != 0 || seed.From < 0 || seed.First < seed.From || seed.First > _rows - rows || (seed.Begins && seed.From > 0))
        {
            return Refused(
                Refusal.InvalidArgument,
                $"{seed.Rows.Length} bytes from row {seed.First} on, behind row {seed.From}, as of step {seed.Step} do not fit {_rows} rows of {Shape.RowBytes} bytes");
        }

        if (seed.Step <= Step)
        {
            return Status();
        }

        if (seed.Begins && (_seeding is null || _seeding.Step < seed.Step))
        {
            _seeding = new Seeding(seed.Step, NewBlocks());
        }

        if (_seeding is null || _seeding.Step != seed.Step || _seeding.Next < seed.From)
        {
            return Refused(
                Refusal.FailedPrecondition,
                $"rows from {seed.From} on as of step {seed.Step} do not follow {(_seeding is null ? "anything" : $"rows to {_seeding.Next} as of step {_seeding.Step}")}; give the partition its rows from the first one on");
        }

        for (int i = 0; i < rows; i++)
        {
            Write(_seeding.Blocks, seed.First + i, seed.Rows.AsSpan(i * Shape.RowBytes, Shape.RowBytes));
        }

        _seeding.Next = Math.Max(_seeding.Next, seed.First + rows);
        if (seed.Ends)
        {
            (_blocks, _seeding, Step) = (_seeding.Blocks, null, seed.Step);
            Array.Fill(_changed, ++Version);
            _history.Clear();
            ApplyWhole();
        }

        return Status();
    }

    /// <summary>What changed since a version of this life; everything for any other.</summary>
    public BankDelta Read(long life, long version)
    {
        if (Step < 0)
        {
            return new BankDelta { Status = Status(), Whole = true };
        }

        bool whole = life != _life || version < 1;
        var places = new List<int>();
        for (int place = 0; place < _rows; place++)
        {
            if (whole ? !IsZero(place) : _changed[place] > version)
            {
                places.Add(place);
            }
        }

        byte[] rows = new byte[places.Count * Shape.RowBytes];
        foreach (var (i, place) in places.Index())
        {
            Row(place).CopyTo(rows.AsSpan(i * Shape.RowBytes));
        }

        return new BankDelta { Status = Status(), Whole = whole, Places = [.. places], Rows = rows };
    }

    /// <summary>One row; zeros where nothing was written.</summary>
    public ReadOnlySpan<byte> Row(int place) =>
        _blocks[place / BlockRows] is { } block ? block.AsSpan(place % BlockRows * Shape.RowBytes, Shape.RowBytes) : _zeros;

    /// <summary>Where it stands.</summary>
    public BankStatus Status() => new()
    {
        Generation = Generation,
        Step = Step,
        Life = _life,
        Version = Version,
        Stuck = _waiting.Count >= MostWaiting / 2,
        Shape = Shape,
    };

    private void ApplyWhole()
    {
        while (_waiting.Count > 0 && _waiting.First() is var (step, lanes) && (step <= Step || (step == Step + 1 && Step >= 0 && lanes.Count == Shape.Lanes)))
        {
            _waiting.Remove(step);
            if (step > Step)
            {
                Apply(step, lanes.Values);
            }
        }
    }

    private void Apply(long step, IEnumerable<BankLane> lanes)
    {
        (Step, Version) = (step, Version + 1);
        if (_seeding?.Step <= step)
        {
            _seeding = null;
        }

        var before = new List<(int, byte[])>();
        foreach (var lane in lanes)
        {
            for (int i = 0; i < lane.Places.Length; i++)
            {
                before.Add((lane.Places[i], Row(lane.Places[i]).ToArray()));
                Write(_blocks, lane.Places[i], lane.Rows.AsSpan(i * Shape.RowBytes, Shape.RowBytes));
                _changed[lane.Places[i]] = Version;
            }
        }

        _history.AddLast((step, before));
        if (_history.Count > History)
        {
            _history.RemoveFirst();
        }
    }

    private void TakeBack(long step)
    {
        if (Step <= step)
        {
            return;
        }

        Version++;
        while (_history.Last is { Value: var (undone, before) } && undone > step)
        {
            for (int i = before.Count - 1; i >= 0; i--)
            {
                Write(_blocks, before[i].Place, before[i].Row);
                _changed[before[i].Place] = Version;
            }

            _history.RemoveLast();
            Step = undone - 1;
        }

        if (Step > step)
        {
            // Further back than is remembered: what is left belongs to no step.
            (_blocks, Step) = (NewBlocks(), -1);
            Array.Fill(_changed, Version);
        }
    }

    private void Write(byte[]?[] blocks, int place, ReadOnlySpan<byte> row) =>
        row.CopyTo((blocks[place / BlockRows] ??= new byte[Math.Min(BlockRows, _rows - (place / BlockRows * BlockRows)) * Shape.RowBytes])
            .AsSpan(place % BlockRows * Shape.RowBytes));

    private bool IsZero(int place) => _blocks[place / BlockRows] is null || !Row(place).ContainsAnyExcept((byte)0);

    private byte[]?[] NewBlocks() => new byte[]?[(_rows + BlockRows - 1) / BlockRows];

    private BankStatus? Refuse(long generation) => generation == Generation ? null : generation < Generation
        ? Stale(generation)
        : Refused(Refusal.FailedPrecondition, $"generation {generation} has not begun here; {Generation} is the newest that has");

    private BankStatus Stale(long generation) => Refused(
        Refusal.StaleGeneration, $"rows of generation {generation} come after generation {Generation} has begun: this trainer no longer belongs to the run");

    private BankStatus Refused(Refusal refusal, string message) => Status() with { Refusal = refusal, Message = message };

    /// <summary>Rows that are being given: as of a step, up to a row.</summary>
    private sealed class Seeding(long step, byte[]?[] blocks)
    {
        public long Step => step;

        public byte[]?[] Blocks => blocks;

        public int Next { get; set; }
    }
}

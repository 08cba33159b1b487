using Orleans;
using Orleans.Concurrency;

namespace DarkMatter.Grains;

/// <summary>What one partition of a bank looks like.</summary>
/// <param name="Rows">Rows of the whole bank.</param>
/// <param name="RowBytes">Bytes of a row.</param>
/// <param name="Lanes">Lanes of the run: a step is whole once every lane has given its rows.</param>
[GenerateSerializer, Alias("darkmatter.BankShape"), Immutable]
public sealed record BankShape([property: Id(0)] long Rows, [property: Id(1)] int RowBytes, [property: Id(2)] int Lanes)
{
    /// <summary>Bytes of a partition, about: what one call between silos may carry.</summary>
    public const int PartitionBytes = 32 << 20;

    /// <summary>The most rows of all banks of a run together in bytes: 64 GiB.</summary>
    public const long MostBytes = 64L << 30;

    /// <summary>Rows of every partition but the last.</summary>
    public int PartitionRows => Math.Max(1, PartitionBytes / RowBytes);

    /// <summary>How many partitions hold the bank.</summary>
    public int Partitions => (int)((Rows + PartitionRows - 1) / PartitionRows);

    /// <summary>Rows of one partition.</summary>
    public int RowsOf(int partition) => (int)Math.Min(PartitionRows, Rows - ((long)partition * PartitionRows));

    /// <summary>What is wrong with it; null when nothing is.</summary>
    public string? Problem => Rows < 1 || RowBytes < 1 || RowBytes > 1 << 20 || Lanes < 1 || Rows > MostBytes / RowBytes
        ? $"a bank has rows of 1 to {1 << 20} bytes, at least one lane, and at most {MostBytes >> 30} GiB; this one has {Rows} rows of {RowBytes} bytes and {Lanes} lanes"
        : null;
}

/// <summary>What one lane of a step writes in one partition; nothing is also told.</summary>
/// <param name="Lane">The lane.</param>
/// <param name="Places">Rows of the partition, each once in a step.</param>
/// <param name="Rows">Their new bytes, one after the other.</param>
[GenerateSerializer, Alias("darkmatter.BankLane"), Immutable]
public sealed record BankLane([property: Id(0)] int Lane, [property: Id(1)] int[] Places, [property: Id(2)] byte[] Rows);

/// <summary>Rows that a partition is given whole, as of a step, in one part or several that follow each other.</summary>
[GenerateSerializer, Alias("darkmatter.BankSeed"), Immutable]
public sealed record BankSeed
{
    /// <summary>Updates that these rows have seen.</summary>
    [Id(0)]
    public long Step { get; init; }

    /// <summary>Row of the partition that <see cref="Rows"/> begins with.</summary>
    [Id(1)]
    public int First { get; init; }

    /// <summary>Rows one after the other; may be none.</summary>
    [Id(2)]
    public byte[] Rows { get; init; } = [];

    /// <summary>The first part; what was given of an older step and not finished is forgotten.</summary>
    [Id(3)]
    public bool Begins { get; init; }

    /// <summary>Now all is given; rows behind these are zeros.</summary>
    [Id(4)]
    public bool Ends { get; init; }

    /// <summary>One more than the last row of the part before this one; rows from here to <see cref="First"/> are zeros.</summary>
    [Id(5)]
    public int From { get; init; }
}

/// <summary>Where a partition stands.</summary>
[GenerateSerializer, Alias("darkmatter.BankStatus"), Immutable]
public sealed record BankStatus
{
    /// <summary>None when the request was taken in.</summary>
    [Id(0)]
    public Refusal Refusal { get; init; }

    /// <summary>Why it was refused, for people.</summary>
    [Id(1)]
    public string Message { get; init; } = "";

    /// <summary>The generation that may write.</summary>
    [Id(2)]
    public long Generation { get; init; }

    /// <summary>Updates whose rows are all there; −1: the partition is empty and must be given its rows whole.</summary>
    [Id(3)]
    public long Step { get; init; } = -1;

    /// <summary>Of this activation: versions of another mean nothing.</summary>
    [Id(4)]
    public long Life { get; init; }

    /// <summary>Grows with every change that readers can see.</summary>
    [Id(5)]
    public long Version { get; init; }

    /// <summary>Steps wait for one before them that does not come: rows were lost on the way, and the partition must be given its rows whole.</summary>
    [Id(6)]
    public bool Stuck { get; init; }

    /// <summary>Null before the partition was told.</summary>
    [Id(7)]
    public BankShape? Shape { get; init; }
}

/// <summary>What changed in a partition since a version.</summary>
[GenerateSerializer, Alias("darkmatter.BankDelta"), Immutable]
public sealed record BankDelta
{
    /// <summary>Where the partition stands with these rows.</summary>
    [Id(0)]
    public BankStatus Status { get; init; } = new();

    /// <summary>The rows are all that are not zeros, not only those that changed: forget what you had.</summary>
    [Id(1)]
    public bool Whole { get; init; }

    /// <summary>Ascending.</summary>
    [Id(2)]
    public int[] Places { get; init; } = [];

    /// <summary>The rows one after the other.</summary>
    [Id(3)]
    public byte[] Rows { get; init; } = [];
}

/// <summary>One partition of a bank. The key is <c>run/bank/partition</c>.</summary>
[Alias("darkmatter.IBankGrain")]
public interface IBankGrain : IGrainWithStringKey
{
    /// <summary>A generation begins to write at a step; older ones are refused from now on. Telling it again changes nothing.</summary>
    [Alias("Begin")]
    Task<BankStatus> Begin(BankShape shape, long generation, long step);

    /// <summary>Rows of one step of some lanes, in any order, as often as you like.</summary>
    [Alias("Append")]
    Task<BankStatus> Append(long generation, long step, Immutable<BankLane[]> lanes);

    /// <summary>Gives the partition its rows whole, in one or more calls.</summary>
    [Alias("Seed")]
    Task<BankStatus> Seed(long generation, BankSeed seed);

    /// <summary>What changed since a version of a life; all of it for a life of before.</summary>
    [ReadOnly, Alias("Read")]
    Task<BankDelta> Read(long life, long version);

    /// <summary>Where it stands.</summary>
    [ReadOnly, Alias("Status")]
    Task<BankStatus> Status();
}

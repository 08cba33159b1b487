using System.Collections.Immutable;
using Orleans;
using Orleans.Concurrency;

namespace DarkMatter.Grains;

/// <summary>One file of a checkpoint.</summary>
[GenerateSerializer, Alias("darkmatter.CheckpointFileRecord")]
public sealed record CheckpointFileRecord
{
    /// <summary>Without folder.</summary>
    [Id(0)]
    public string Name { get; init; } = "";

    /// <summary>Its length.</summary>
    [Id(1)]
    public long Bytes { get; init; }

    /// <summary>In hex.</summary>
    [Id(2)]
    public string Sha256 { get; init; } = "";
}

/// <summary>One rank's part of a checkpoint: it lies whole in the store.</summary>
[GenerateSerializer, Alias("darkmatter.CheckpointPartReport")]
public sealed record CheckpointPartReport
{
    /// <summary>The generation that wrote it.</summary>
    [Id(0)]
    public long Generation { get; init; }

    /// <summary>Updates applied in it.</summary>
    [Id(1)]
    public long Step { get; init; }

    /// <summary>Who wrote it.</summary>
    [Id(2)]
    public int Rank { get; init; }

    /// <summary>How many ranks write parts.</summary>
    [Id(3)]
    public int World { get; init; }

    /// <summary>What it wrote.</summary>
    [Id(4)]
    public ImmutableArray<CheckpointFileRecord> Files { get; init; } = [];
}

/// <summary>The parts of one checkpoint that are there.</summary>
[GenerateSerializer, Alias("darkmatter.PartCollection")]
public sealed record PartCollection
{
    /// <summary>The generation that writes it.</summary>
    [Id(0)]
    public long Generation { get; init; }

    /// <summary>Updates applied in it.</summary>
    [Id(1)]
    public long Step { get; init; }

    /// <summary>The files of each rank; none of those that have not reported.</summary>
    [Id(2)]
    public ImmutableArray<ImmutableArray<CheckpointFileRecord>> Ranks { get; init; } = [];

    /// <summary>Every rank has reported.</summary>
    public bool IsComplete => Ranks.All(files => files.Length > 0);
}

/// <summary>What became of a reported part.</summary>
[GenerateSerializer, Alias("darkmatter.PartAnswer")]
public sealed record PartAnswer
{
    /// <summary>None when it was taken in.</summary>
    [Id(0)]
    public Refusal Refusal { get; init; }

    /// <summary>Why it was refused, for people.</summary>
    [Id(1)]
    public string Message { get; init; } = "";

    /// <summary>All parts are there: whoever is told so publishes.</summary>
    [Id(2)]
    public bool Complete { get; init; }

    /// <summary>The files of all ranks in rank order, when complete.</summary>
    [Id(3)]
    public ImmutableArray<CheckpointFileRecord> Files { get; init; } = [];
}

/// <summary>Publication of a run's checkpoints. The key is the run's name.</summary>
[Alias("darkmatter.ICheckpointGrain")]
public interface ICheckpointGrain : IGrainWithStringKey
{
    /// <summary>
    /// Takes in one rank's part; durable when it returns. The same part again gives the same answer, so a lost answer is asked for again.
    /// </summary>
    [Alias("ReportPart")]
    Task<PartAnswer> ReportPart(CheckpointPartReport part);

    /// <summary>
    /// Notes a whole and verified checkpoint in the run's ledger; durable when it returns. Publishing the same one again changes nothing;
    /// another one of the same step and generation, or one of a branch that the run has left, is refused.
    /// </summary>
    [Alias("Publish")]
    Task<RunAnswer> Publish(CheckpointRecord checkpoint);

    /// <summary>The newest published checkpoint, or null.</summary>
    [ReadOnly, Alias("Newest")]
    Task<CheckpointRecord?> Newest();
}

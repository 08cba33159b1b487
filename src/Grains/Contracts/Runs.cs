using System.Collections.Immutable;
using Orleans;

namespace DarkMatter.Grains;

/// <summary>The life of a run. Stored: values never change their meaning.</summary>
[GenerateSerializer, Alias("darkmatter.RunState")]
public enum RunState
{
    /// <summary>Not created.</summary>
    None = 0,

    /// <summary>Waits for its trainers.</summary>
    Waiting = 1,

    /// <summary>Its trainers train.</summary>
    Training = 2,

    /// <summary>Every rank took every step.</summary>
    Completed = 3,

    /// <summary>Ended by a failure; it can be resumed.</summary>
    Failed = 4,

    /// <summary>Ended on request; it can be resumed.</summary>
    Stopped = 5,

    /// <summary>Waits on request, its state in its trainers' memory.</summary>
    Paused = 6,
}

/// <summary>What a run was created with.</summary>
[GenerateSerializer, Alias("darkmatter.RunPlan")]
public sealed record RunPlan
{
    /// <summary>The resolved recipe in canonical order.</summary>
    [Id(0)]
    public string RecipeYaml { get; init; } = "";

    /// <summary>Trainers wanted; at least 1, at most <see cref="Lanes"/>.</summary>
    [Id(1)]
    public int World { get; init; } = 1;

    /// <summary>Fixed streams of samples; at least 1.</summary>
    [Id(2)]
    public int Lanes { get; init; } = 1;

    /// <summary>Images of one step over all ranks; a multiple of <see cref="Lanes"/>.</summary>
    [Id(3)]
    public int Batch { get; init; } = 1;

    /// <summary>Steps of the run; 0 while rank 0 has not measured its speed.</summary>
    [Id(4)]
    public long TotalSteps { get; init; }

    /// <summary>Where the catalog is, as the silo sees it.</summary>
    [Id(5)]
    public string Dataset { get; init; } = "";

    /// <summary>Digest of the catalog: a run never changes its images.</summary>
    [Id(6)]
    public string DatasetDigest { get; init; } = "";

    /// <summary>Images of one epoch.</summary>
    [Id(7)]
    public long Samples { get; init; }

    /// <summary>Below this many trainers the run waits; at least 1, at most <see cref="World"/>. Default 1.</summary>
    [Id(8)]
    public int MinWorld { get; init; } = 1;

    /// <summary>More trainers than this wait as spares; at least <see cref="World"/>, at most <see cref="Lanes"/>. 0: <see cref="Lanes"/>.</summary>
    [Id(9)]
    public int MaxWorld { get; init; }

    /// <summary><see cref="MaxWorld"/>, or <see cref="Lanes"/> where it is not given.</summary>
    public int LargestWorld => MaxWorld == 0 ? Lanes : MaxWorld;
}

/// <summary>A published checkpoint.</summary>
[GenerateSerializer, Alias("darkmatter.CheckpointRecord")]
public sealed record CheckpointRecord
{
    /// <summary>Updates applied in it.</summary>
    [Id(0)]
    public long Step { get; init; }

    /// <summary>Its folder.</summary>
    [Id(1)]
    public string Path { get; init; } = "";

    /// <summary>SHA-256 of its manifest in hex; empty when the record came from a resume request.</summary>
    [Id(2)]
    public string ManifestSha256 { get; init; } = "";

    /// <summary>The generation that wrote it.</summary>
    [Id(3)]
    public long Generation { get; init; }
}

/// <summary>One trainer of a run as people see it.</summary>
[GenerateSerializer, Alias("darkmatter.MemberView")]
public sealed record MemberView
{
    /// <summary>Unique in the run.</summary>
    [Id(0)]
    public string Name { get; init; } = "";

    /// <summary>Place in the world; −1 for none.</summary>
    [Id(1)]
    public int Rank { get; init; } = -1;

    /// <summary>Where its peers reach it.</summary>
    [Id(2)]
    public string Address { get; init; } = "";

    /// <summary>Last step it applied.</summary>
    [Id(3)]
    public long Step { get; init; }

    /// <summary>Of its process.</summary>
    [Id(4)]
    public int ProcessId { get; init; }

    /// <summary>Its session is open.</summary>
    [Id(5)]
    public bool Alive { get; init; }

    /// <summary>It waits for a place.</summary>
    [Id(6)]
    public bool Spare { get; init; }

    /// <summary>Others wait for it, step after step.</summary>
    [Id(7)]
    public bool Slow { get; init; }

    /// <summary>Of its last step, without waiting for others.</summary>
    [Id(8)]
    public double ComputeSeconds { get; init; }
}

/// <summary>What the ranks have done so far.</summary>
[GenerateSerializer, Alias("darkmatter.RunProgress")]
public sealed record RunProgress
{
    /// <summary>The generation it happened in.</summary>
    [Id(0)]
    public long Generation { get; init; }

    /// <summary>Applied by every rank.</summary>
    [Id(1)]
    public long Step { get; init; }

    /// <summary>Loss of the global batch at the newest step of rank 0.</summary>
    [Id(2)]
    public double Loss { get; init; }

    /// <summary>Images of the global batch per second.</summary>
    [Id(3)]
    public double ImagesPerSecond { get; init; }

    /// <summary>Spread of unit embeddings: healthy near 1/√d, collapsed 0.</summary>
    [Id(4)]
    public double EmbeddingStd { get; init; }

    /// <summary>The trainers in rank order, then the spares.</summary>
    [Id(5)]
    public ImmutableArray<MemberView> Members { get; init; } = [];

    /// <summary>The newest thing a person should know: who was lost, who is slow, who was benched. May be empty.</summary>
    [Id(6)]
    public string Notice { get; init; } = "";

    /// <summary><see cref="SamplesDigest"/> covers the generation's steps up to this one.</summary>
    [Id(7)]
    public long DigestStep { get; init; }

    /// <summary>The wrapping sum over all images that the generation's ranks used, as its rank 0 reported it.</summary>
    [Id(8)]
    public ulong SamplesDigest { get; init; }

    /// <summary>The newest look at the embeddings: <c>healthy</c>, <c>warning: …</c>, <c>collapsed: …</c>; empty before the first.</summary>
    [Id(9)]
    public string Health { get; init; } = "";
}

/// <summary>A run as people see it.</summary>
[GenerateSerializer, Alias("darkmatter.RunView")]
public sealed record RunView
{
    /// <summary>Its name.</summary>
    [Id(0)]
    public string Run { get; init; } = "";

    /// <summary>Where it is in its life.</summary>
    [Id(1)]
    public RunState State { get; init; }

    /// <summary>Why it is in this state, for people; names the trainer at fault.</summary>
    [Id(2)]
    public string Reason { get; init; } = "";

    /// <summary>What it was created or last resumed with.</summary>
    [Id(3)]
    public RunPlan Plan { get; init; } = new();

    /// <summary>What its ranks have done.</summary>
    [Id(4)]
    public RunProgress Progress { get; init; } = new();

    /// <summary>Steps of the run; 0 while unknown.</summary>
    [Id(5)]
    public long TotalSteps { get; init; }

    /// <summary>The newest published checkpoint.</summary>
    [Id(6)]
    public CheckpointRecord? Checkpoint { get; init; }

    /// <summary>Samples that could not be read and were replaced.</summary>
    [Id(7)]
    public long Quarantined { get; init; }

    /// <summary>Step that this life of the run started from.</summary>
    [Id(8)]
    public long StartStep { get; init; }

    /// <summary>The checkpoint that this life started from; null for a fresh start.</summary>
    [Id(9)]
    public CheckpointRecord? StartCheckpoint { get; init; }

    /// <summary>Grows with every change, so that a watcher sees what is new.</summary>
    [Id(10)]
    public long Version { get; init; }

    /// <summary>Steps that were trained and then lost with every trainer that had them.</summary>
    [Id(11)]
    public long RolledBack { get; init; }

    /// <summary>A generation was formed since the run was created or last resumed.</summary>
    [Id(12)]
    public bool Formed { get; init; }

    /// <summary>The newest generation's ranks agreed on a state.</summary>
    [Id(13)]
    public bool Began { get; init; }

    /// <summary>The newest generation only takes a checkpoint.</summary>
    [Id(14)]
    public bool Saving { get; init; }

    /// <summary>Why it was asked to stop; empty when nobody asked.</summary>
    [Id(15)]
    public string StopReason { get; init; } = "";

    /// <summary>It waits, trains, or is paused.</summary>
    public bool IsLive => State is RunState.Waiting or RunState.Training or RunState.Paused;
}

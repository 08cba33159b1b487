using System.Collections.Immutable;
using Orleans;

namespace DarkMatter.Grains;

/// <summary>A trainer that asks to belong to a run.</summary>
[GenerateSerializer, Alias("darkmatter.JoinRequest")]
public sealed record JoinRequest
{
    /// <summary>Unique in the run.</summary>
    [Id(0)]
    public string Name { get; init; } = "";

    /// <summary>A new random value each time its process starts.</summary>
    [Id(1)]
    public string Incarnation { get; init; } = "";

    /// <summary>Where its peers reach it.</summary>
    [Id(2)]
    public string Address { get; init; } = "";

    /// <summary>Of its process, for people.</summary>
    [Id(3)]
    public int ProcessId { get; init; }

    /// <summary>SHA-256 of the recipe it was given; empty when the silo's recipe is to be taken.</summary>
    [Id(4)]
    public string RecipeDigest { get; init; } = "";

    /// <summary>The generation it still trains in, when it lost its session but not its place; else 0.</summary>
    [Id(5)]
    public long Generation { get; init; }

    /// <summary>Updates applied in its memory; −1 when it holds no state.</summary>
    [Id(6)]
    public long LastStep { get; init; } = -1;

    /// <summary>Of the stream it speaks through: a new value for each, so that the end of an old stream says nothing of a new one.</summary>
    [Id(7)]
    public string Session { get; init; } = "";
}

/// <summary>Whether a trainer may join.</summary>
[GenerateSerializer, Alias("darkmatter.JoinAnswer")]
public sealed record JoinAnswer
{
    /// <summary>None when it may join.</summary>
    [Id(0)]
    public Refusal Refusal { get; init; }

    /// <summary>Why not, for people.</summary>
    [Id(1)]
    public string Message { get; init; } = "";

    /// <summary>It came back to the place it has in the current generation; else it stands by.</summary>
    [Id(2)]
    public bool KeepsPlace { get; init; }

    /// <summary>What it needs to prepare; null when refused.</summary>
    [Id(3)]
    public RunBrief? Brief { get; init; }
}

/// <summary>What a trainer prepares for.</summary>
[GenerateSerializer, Alias("darkmatter.RunBrief")]
public sealed record RunBrief
{
    /// <summary>The resolved recipe.</summary>
    [Id(0)]
    public string RecipeYaml { get; init; } = "";

    /// <summary>Lanes of the run over all ranks.</summary>
    [Id(1)]
    public int LaneCount { get; init; }

    /// <summary>Digest of the catalog that the run trains on; empty when it was created without one.</summary>
    [Id(2)]
    public string DatasetDigest { get; init; } = "";

    /// <summary>Steps of the run; 0 while unknown.</summary>
    [Id(3)]
    public long TotalSteps { get; init; }
}

/// <summary>What a trainer's session is doing.</summary>
[GenerateSerializer, Alias("darkmatter.Presence")]
public enum Presence
{
    /// <summary>Its stream is open.</summary>
    Connected = 0,

    /// <summary>Its stream ended without a word: killed, crashed or cut off.</summary>
    Broken = 1,

    /// <summary>It took every step and said so.</summary>
    Completed = 2,

    /// <summary>It left in good order before the end.</summary>
    Left = 3,

    /// <summary>It said that it failed.</summary>
    Failed = 4,

    /// <summary>The silo was restarted, and this trainer has not come back to it yet. It may train on meanwhile.</summary>
    Away = 5,
}

/// <summary>A trainer says that it cannot go on with another.</summary>
[GenerateSerializer, Alias("darkmatter.Accusation")]
public sealed record Accusation
{
    /// <summary>Of the peer at fault; −1 when it is not known.</summary>
    [Id(0)]
    public int Rank { get; init; }

    /// <summary>What was seen of it.</summary>
    [Id(1)]
    public string Reason { get; init; } = "";

    /// <summary>The peer is reached, but its state's hash is not that of the others: it heals.</summary>
    [Id(2)]
    public bool StateDiffers { get; init; }
}

/// <summary>The hash of a rank's parameters, buffers and optimizer state after a step, in hex.</summary>
[GenerateSerializer, Alias("darkmatter.StateHash")]
public sealed record StateHash
{
    /// <summary>Updates applied.</summary>
    [Id(0)]
    public long Step { get; init; }

    /// <summary>In lower-case hex.</summary>
    [Id(1)]
    public string Hash { get; init; } = "";
}

/// <summary>Rank 0 says that every rank of a generation holds the same, verified state.</summary>
[GenerateSerializer, Alias("darkmatter.GenerationBeginning")]
public sealed record GenerationBeginning
{
    /// <summary>The generation that begins.</summary>
    [Id(0)]
    public long Generation { get; init; }

    /// <summary>Updates applied in that state.</summary>
    [Id(1)]
    public long StartStep { get; init; }

    /// <summary>Of that state, in lower-case hex.</summary>
    [Id(2)]
    public string StateHash { get; init; } = "";

    /// <summary>Where it came from: <c>memory of generation 7</c>, <c>checkpoint 500</c>, <c>fresh</c>.</summary>
    [Id(3)]
    public string Source { get; init; } = "";

    /// <summary>Ranks that copied their state from others.</summary>
    [Id(4)]
    public ImmutableArray<int> Healed { get; init; } = [];

    /// <summary>Bytes they copied.</summary>
    [Id(5)]
    public long HealedBytes { get; init; }

    /// <summary>Time they took.</summary>
    [Id(6)]
    public double HealSeconds { get; init; }

    /// <summary>How that state came about: its newest segments in step order.</summary>
    [Id(7)]
    public ImmutableArray<LineageSegment> Lineage { get; init; } = [];
}

/// <summary>What a silo knows of one trainer whose session it holds.</summary>
[GenerateSerializer, Alias("darkmatter.MemberReport")]
public sealed record MemberReport
{
    /// <summary>Unique in the run.</summary>
    [Id(0)]
    public string Name { get; init; } = "";

    /// <summary>Of its process.</summary>
    [Id(1)]
    public string Incarnation { get; init; } = "";

    /// <summary>What its session is doing.</summary>
    [Id(2)]
    public Presence Presence { get; init; }

    /// <summary>Why it left or failed, in its own words.</summary>
    [Id(3)]
    public string Reason { get; init; } = "";

    /// <summary>Time since its last message, as the silo observed it.</summary>
    [Id(4)]
    public TimeSpan SilentFor { get; init; }

    /// <summary>Last step it applied.</summary>
    [Id(5)]
    public long Step { get; init; }

    /// <summary>Loss of the global batch at that step.</summary>
    [Id(6)]
    public double Loss { get; init; }

    /// <summary>Images of the global batch per second.</summary>
    [Id(7)]
    public double ImagesPerSecond { get; init; }

    /// <summary>Spread of unit embeddings: healthy near 1/√d, collapsed 0.</summary>
    [Id(8)]
    public double EmbeddingStd { get; init; }

    /// <summary>The first peer it could not go on with in <see cref="Generation"/>; null for none.</summary>
    [Id(9)]
    public Accusation? Accuses { get; init; }

    /// <summary>New since the last report.</summary>
    [Id(10)]
    public ImmutableArray<StateHash> Hashes { get; init; } = [];

    /// <summary>The number of steps it measured, of rank 0; 0 for none.</summary>
    [Id(11)]
    public long PlannedSteps { get; init; }

    /// <summary>Of its stream, as in its <see cref="JoinRequest"/>.</summary>
    [Id(12)]
    public string Session { get; init; } = "";

    /// <summary>The newest generation it has a place in; 0 for none. Steps, accusation and hashes are of this one.</summary>
    [Id(13)]
    public long Generation { get; init; }

    /// <summary>It said that it is prepared and can take a place.</summary>
    [Id(14)]
    public bool Prepared { get; init; }

    /// <summary>It was asked to end, and goes on until the others can go on without it.</summary>
    [Id(15)]
    public bool Draining { get; init; }

    /// <summary>It failed as anybody would: the run ends.</summary>
    [Id(16)]
    public bool RunFailed { get; init; }

    /// <summary>What its generation began with, of rank 0; null before.</summary>
    [Id(17)]
    public GenerationBeginning? Beginning { get; init; }

    /// <summary><see cref="SamplesDigest"/> covers the generation's steps up to this one.</summary>
    [Id(18)]
    public long DigestStep { get; init; }

    /// <summary>The wrapping sum over all images that the generation used, of rank 0.</summary>
    [Id(19)]
    public ulong SamplesDigest { get; init; }

    /// <summary>Of its last step, without waiting for others.</summary>
    [Id(20)]
    public double ComputeSeconds { get; init; }

    /// <summary>How the state came about with which it completed the run; empty before.</summary>
    [Id(21)]
    public ImmutableArray<LineageSegment> Lineage { get; init; } = [];

    /// <summary>Updates applied in its memory, whatever generation made them; −1 when it holds no state.</summary>
    [Id(22)]
    public long Held { get; init; } = -1;

    /// <summary>The newest look at the embeddings, of rank 0: <c>healthy</c>, <c>warning: …</c>, <c>collapsed: …</c>; empty before.</summary>
    [Id(23)]
    public string Health { get; init; } = "";

    /// <summary>Grows while its generation prepares itself: copies state, reads a checkpoint.</summary>
    [Id(24)]
    public long Progress { get; init; }
}

/// <summary>Steps of a state that were made in one generation.</summary>
/// <param name="Generation">Its number.</param>
/// <param name="StartStep">Updates applied before the first of them.</param>
/// <param name="EndStep">Updates applied after the last of them.</param>
/// <param name="SamplesDigest">The wrapping sum of <see cref="Data.SampleDigest"/> over all images used in them.</param>
[GenerateSerializer, Alias("darkmatter.LineageSegment")]
public sealed record LineageSegment(
    [property: Id(0)] long Generation, [property: Id(1)] long StartStep, [property: Id(2)] long EndStep, [property: Id(3)] ulong SamplesDigest);

/// <summary>Everything a silo has to say of a run: one message instead of one for each rank and step.</summary>
[GenerateSerializer, Alias("darkmatter.SiloReport")]
public sealed record SiloReport
{
    /// <summary>One for each session.</summary>
    [Id(0)]
    public ImmutableArray<MemberReport> Members { get; init; } = [];

    /// <summary>The newest generation whose seats the silo has.</summary>
    [Id(1)]
    public long KnownGeneration { get; init; }
}

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
}

/// <summary>A trainer says that it cannot reach another.</summary>
[GenerateSerializer, Alias("darkmatter.Accusation")]
public sealed record Accusation
{
    /// <summary>Of the peer that cannot be reached.</summary>
    [Id(0)]
    public int Rank { get; init; }

    /// <summary>What was seen of it.</summary>
    [Id(1)]
    public string Reason { get; init; } = "";
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

    /// <summary>The first peer it could not reach; null for none.</summary>
    [Id(9)]
    public Accusation? Accuses { get; init; }

    /// <summary>New since the last report.</summary>
    [Id(10)]
    public ImmutableArray<StateHash> Hashes { get; init; } = [];

    /// <summary>The number of steps it measured, of rank 0; 0 for none.</summary>
    [Id(11)]
    public long PlannedSteps { get; init; }
}

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

/// <summary>One trainer's place in a generation.</summary>
[GenerateSerializer, Alias("darkmatter.Seat")]
public sealed record Seat
{
    /// <summary>Place in the world, from 0.</summary>
    [Id(0)]
    public int Rank { get; init; }

    /// <summary>Of the trainer.</summary>
    [Id(1)]
    public string Name { get; init; } = "";

    /// <summary>Of its process.</summary>
    [Id(2)]
    public string Incarnation { get; init; } = "";

    /// <summary>Where its peers reach it.</summary>
    [Id(3)]
    public string Address { get; init; } = "";

    /// <summary>Of its process, for people.</summary>
    [Id(4)]
    public int ProcessId { get; init; }

    /// <summary>Ascending and contiguous.</summary>
    [Id(5)]
    public ImmutableArray<int> Lanes { get; init; } = [];
}

/// <summary>A membership with all that a trainer needs to begin.</summary>
[GenerateSerializer, Alias("darkmatter.Seating")]
public sealed record Seating
{
    /// <summary>Its number; 1 for the first.</summary>
    [Id(0)]
    public long Generation { get; init; }

    /// <summary>In rank order.</summary>
    [Id(1)]
    public ImmutableArray<Seat> Seats { get; init; } = [];

    /// <summary>Steps already applied.</summary>
    [Id(2)]
    public long StartStep { get; init; }

    /// <summary>What to load first; empty for a fresh start.</summary>
    [Id(3)]
    public string CheckpointPath { get; init; } = "";

    /// <summary>Steps of the run; 0 while unknown.</summary>
    [Id(4)]
    public long TotalSteps { get; init; }

    /// <summary>The resolved recipe.</summary>
    [Id(5)]
    public string RecipeYaml { get; init; } = "";

    /// <summary>Lanes of the run over all ranks.</summary>
    [Id(6)]
    public int LaneCount { get; init; }

    /// <summary>Digest of the catalog that the run trains on; empty when it was created without one.</summary>
    [Id(7)]
    public string DatasetDigest { get; init; } = "";
}

/// <summary>What a silo is to tell the trainers whose sessions it holds.</summary>
[GenerateSerializer, Alias("darkmatter.RosterView")]
public sealed record RosterView
{
    /// <summary>Newest generation that began; 0 for none.</summary>
    [Id(0)]
    public long Generation { get; init; }

    /// <summary>The run's state.</summary>
    [Id(1)]
    public RunState State { get; init; }

    /// <summary>Why it ended, or why it is to stop.</summary>
    [Id(2)]
    public string Reason { get; init; } = "";

    /// <summary>The current generation's seats, when the silo does not have them yet.</summary>
    [Id(3)]
    public Seating? Seating { get; init; }

    /// <summary>Trainers are to stop at a step boundary.</summary>
    [Id(4)]
    public bool StopRequested { get; init; }

    /// <summary>The run is over.</summary>
    public bool Ended => State is not (RunState.Waiting or RunState.Training);
}

/// <summary>Membership of one run. The key is the run's name.</summary>
[Alias("darkmatter.IRosterGrain")]
public interface IRosterGrain : IGrainWithStringKey
{
    /// <summary>Begins to wait for the trainers of a run that was created or resumed.</summary>
    [Alias("Open")]
    Task Open(RunView run, RosterOptions options);

    /// <summary>Lets a trainer in, or says why not.</summary>
    [Alias("Join")]
    Task<JoinAnswer> Join(JoinRequest join);

    /// <summary>Takes a silo's report in, decides, and says what its trainers are to be told.</summary>
    [Alias("Report")]
    Task<RosterView> Report(SiloReport report);

    /// <summary>Asks the trainers to stop at a step boundary.</summary>
    [Alias("Stop")]
    Task<RunAnswer> Stop(string reason);

    /// <summary>Ends a live run whose trainers cannot go on, because their silo stops or was restarted.</summary>
    [Alias("Interrupt")]
    Task Interrupt(string reason);
}

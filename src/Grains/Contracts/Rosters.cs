using System.Collections.Immutable;
using Orleans;

namespace DarkMatter.Grains;

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

    /// <summary>Steps committed when it was formed. Its ranks agree on the true number when they begin.</summary>
    [Id(2)]
    public long StartStep { get; init; }

    /// <summary>The newest published checkpoint; null when there is none.</summary>
    [Id(3)]
    public CheckpointRecord? Checkpoint { get; init; }

    /// <summary>What every trainer of the run prepares for.</summary>
    [Id(4)]
    public RunBrief Brief { get; init; } = new();

    /// <summary>The generation before is broken: end it now, not at its next step boundary.</summary>
    [Id(5)]
    public bool AtOnce { get; init; }

    /// <summary>Why it begins, for people.</summary>
    [Id(6)]
    public string Reason { get; init; } = "";

    /// <summary>Its trainers take a checkpoint of the newest state that they hold, and train nothing.</summary>
    [Id(7)]
    public bool Saving { get; init; }
}

/// <summary>What a silo is to tell the trainers whose sessions it holds.</summary>
[GenerateSerializer, Alias("darkmatter.RosterView")]
public sealed record RosterView
{
    /// <summary>Newest generation that was formed; 0 for none.</summary>
    [Id(0)]
    public long Generation { get; init; }

    /// <summary>The run's state.</summary>
    [Id(1)]
    public RunState State { get; init; }

    /// <summary>Why it ended, waits, or is to stop.</summary>
    [Id(2)]
    public string Reason { get; init; } = "";

    /// <summary>The current generation's seats, when it trains and the silo does not have them yet.</summary>
    [Id(3)]
    public Seating? Seating { get; init; }

    /// <summary>Trainers are to stop at a step boundary.</summary>
    [Id(4)]
    public bool StopRequested { get; init; }

    /// <summary>The run waits or is paused: trainers leave <see cref="Generation"/> now, not at its next step boundary.</summary>
    [Id(5)]
    public bool HoldAtOnce { get; init; }

    /// <summary>The run is paused: its trainers take a checkpoint before they wait.</summary>
    [Id(6)]
    public bool HoldWithCheckpoint { get; init; }

    /// <summary>Names of draining trainers without whom the others go on: they are released.</summary>
    [Id(7)]
    public ImmutableArray<string> Released { get; init; } = [];

    /// <summary>Sessions that do not belong to the run any more: they are ended, and their trainers join anew.</summary>
    [Id(8)]
    public ImmutableArray<string> Strangers { get; init; } = [];

    /// <summary>What every trainer of the run prepares for.</summary>
    [Id(9)]
    public RunBrief Brief { get; init; } = new();

    /// <summary>The run is over.</summary>
    public bool Ended => State is not (RunState.Waiting or RunState.Training or RunState.Paused);
}

/// <summary>Membership of one run. The key is the run's name.</summary>
[Alias("darkmatter.IRosterGrain")]
public interface IRosterGrain : IGrainWithStringKey
{
    /// <summary>Begins to wait for the trainers of a run that was created or resumed.</summary>
    [Alias("Open")]
    Task Open(RunView run, RosterOptions options);

    /// <summary>Takes up a live run after a restart of the silo: its trainers may come back to their places.</summary>
    [Alias("Reopen")]
    Task Reopen(RosterOptions options);

    /// <summary>Lets a trainer in, or says why not.</summary>
    [Alias("Join")]
    Task<JoinAnswer> Join(JoinRequest join);

    /// <summary>Takes a silo's report in, decides, and says what its trainers are to be told.</summary>
    [Alias("Report")]
    Task<RosterView> Report(SiloReport report);

    /// <summary>Asks the trainers to stop at a step boundary.</summary>
    [Alias("Stop")]
    Task<RunAnswer> Stop(string reason);

    /// <summary>Asks the trainers to take a checkpoint at a step boundary and to wait.</summary>
    [Alias("Pause")]
    Task<RunAnswer> Pause(string reason);

    /// <summary>Ends a pause.</summary>
    [Alias("Unpause")]
    Task<RunAnswer> Unpause();

    /// <summary>Ends a live run that has no trainer any more, so that it can be resumed. Refused while one is there.</summary>
    [Alias("Abandon")]
    Task<RunAnswer> Abandon(string reason);
}

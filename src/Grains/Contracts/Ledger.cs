using System.Collections.Immutable;
using Orleans;

namespace DarkMatter.Grains;

/// <summary>One membership in the ledger: who trained which lanes from where to where.</summary>
[GenerateSerializer, Alias("darkmatter.GenerationRecord")]
public sealed record GenerationRecord
{
    /// <summary>1 for the first.</summary>
    [Id(0)]
    public long Number { get; init; }

    /// <summary>Steps already applied when it began.</summary>
    [Id(1)]
    public long StartStep { get; init; }

    /// <summary>Steps applied by every rank of it. Those above the next generation's start are repeated there.</summary>
    [Id(2)]
    public long CommittedStep { get; init; }

    /// <summary>Names in rank order.</summary>
    [Id(3)]
    public ImmutableArray<string> Trainers { get; init; } = [];

    /// <summary>Lanes of the run.</summary>
    [Id(4)]
    public int Lanes { get; init; }

    /// <summary>Why it began.</summary>
    [Id(5)]
    public string Reason { get; init; } = "";

    /// <summary>Its ranks agreed on a state. A generation that never did has trained nothing.</summary>
    [Id(6)]
    public bool Began { get; init; }

    /// <summary>Where that state came from: <c>memory of generation 7</c>, <c>checkpoint 500</c>, <c>fresh</c>.</summary>
    [Id(7)]
    public string Source { get; init; } = "";

    /// <summary>The state's hash at <see cref="StartStep"/>, in lower-case hex.</summary>
    [Id(8)]
    public string StateHash { get; init; } = "";

    /// <summary>Ranks that copied their state from others.</summary>
    [Id(9)]
    public ImmutableArray<int> Healed { get; init; } = [];

    /// <summary><see cref="SamplesDigest"/> covers the steps from <see cref="StartStep"/> up to this one.</summary>
    [Id(10)]
    public long DigestStep { get; init; }

    /// <summary>The wrapping sum of <see cref="Data.SampleDigest"/> over all images that its ranks used in those steps.</summary>
    [Id(11)]
    public ulong SamplesDigest { get; init; }

    /// <summary>When its ranks agreed, by the silo's clock.</summary>
    [Id(12)]
    public DateTimeOffset BeganAt { get; init; }

    /// <summary>The generation that made the last step of the state it began with; 0 when that state had none, or when it is not known.</summary>
    [Id(13)]
    public long Parent { get; init; }

    /// <summary>It trains nothing: it takes a checkpoint of what its trainers hold.</summary>
    [Id(14)]
    public bool Saving { get; init; }
}

/// <summary>What an audit reads: the ledger with the few numbers of the run that give it meaning.</summary>
[GenerateSerializer, Alias("darkmatter.RunLedger")]
public sealed record RunLedger
{
    /// <summary>The run's name.</summary>
    [Id(0)]
    public string Run { get; init; } = "";

    /// <summary>Where the run is in its life.</summary>
    [Id(1)]
    public RunState State { get; init; }

    /// <summary>Committed on every rank.</summary>
    [Id(2)]
    public long Step { get; init; }

    /// <summary>Steps of the run; 0 while unknown.</summary>
    [Id(3)]
    public long TotalSteps { get; init; }

    /// <summary>Images of one step over all ranks.</summary>
    [Id(4)]
    public int Batch { get; init; }

    /// <summary>Lanes of the run.</summary>
    [Id(5)]
    public int Lanes { get; init; }

    /// <summary>Where the catalog is.</summary>
    [Id(6)]
    public string Dataset { get; init; } = "";

    /// <summary>Digest of the catalog.</summary>
    [Id(7)]
    public string DatasetDigest { get; init; } = "";

    /// <summary>The resolved recipe: it has the seed of the order of images.</summary>
    [Id(8)]
    public string RecipeYaml { get; init; } = "";

    /// <summary>Oldest first.</summary>
    [Id(9)]
    public ImmutableList<GenerationRecord> Generations { get; init; } = [];

    /// <summary>Images that could not be read and were replaced.</summary>
    [Id(10)]
    public ImmutableArray<BrokenSample> Quarantined { get; init; } = [];

    /// <summary>The ledger of a stored run.</summary>
    public static RunLedger Of(string name, RunRecord run, ImmutableArray<BrokenSample> quarantined) => new()
    {
        Run = name,
        State = run.State,
        Step = run.Progress.Step,
        TotalSteps = run.TotalSteps,
        Batch = run.Plan.Batch,
        Lanes = run.Plan.Lanes,
        Dataset = run.Plan.Dataset,
        DatasetDigest = run.Plan.DatasetDigest,
        RecipeYaml = run.Plan.RecipeYaml,
        Generations = run.Generations,
        Quarantined = quarantined,
    };
}

/// <summary>Everything stored of a run.</summary>
[GenerateSerializer, Alias("darkmatter.RunRecord")]
public sealed record RunRecord
{
    /// <summary>Where the run is in its life.</summary>
    [Id(0)]
    public RunState State { get; init; }

    /// <summary>Why it is there, for people.</summary>
    [Id(1)]
    public string Reason { get; init; } = "";

    /// <summary>What it was created or last resumed with.</summary>
    [Id(2)]
    public RunPlan Plan { get; init; } = new();

    /// <summary>Steps of the run; 0 while unknown.</summary>
    [Id(3)]
    public long TotalSteps { get; init; }

    /// <summary>Rank 0 has fixed <see cref="TotalSteps"/>.</summary>
    [Id(4)]
    public bool StepsFixed { get; init; }

    /// <summary>The ledger, oldest first. Of a long one these are the newest: <see cref="SealedGenerations"/> has those before.</summary>
    [Id(5)]
    public ImmutableList<GenerationRecord> Generations { get; init; } = [];

    /// <summary>What the ranks have done in the newest generation.</summary>
    [Id(6)]
    public RunProgress Progress { get; init; } = new();

    /// <summary>Newest first; at most <see cref="Run.KeptCheckpoints"/>.</summary>
    [Id(7)]
    public ImmutableList<CheckpointRecord> Checkpoints { get; init; } = [];

    /// <summary>Broken samples found so far.</summary>
    [Id(8)]
    public long Quarantined { get; init; }

    /// <summary>Step that this life of the run started from.</summary>
    [Id(9)]
    public long StartStep { get; init; }

    /// <summary>Checkpoint that this life started from; null for a fresh start.</summary>
    [Id(10)]
    public CheckpointRecord? StartCheckpoint { get; init; }

    /// <summary>The newest generation's trainers in rank order: after a restart of the silo they keep their places.</summary>
    [Id(11)]
    public ImmutableArray<Seat> Seats { get; init; } = [];

    /// <summary>The newest generation of the run's earlier lives: later ones began since it was created or last resumed.</summary>
    [Id(12)]
    public long EarlierGeneration { get; init; }

    /// <summary>Steps that were trained and then lost with every trainer that had them.</summary>
    [Id(13)]
    public long RolledBack { get; init; }

    /// <summary>Shard ranges with broken samples, ascending.</summary>
    [Id(14)]
    public ImmutableArray<int> QuarantinedRanges { get; init; } = [];

    /// <summary>Why it was asked to stop; empty when nobody asked since it was created or last resumed.</summary>
    [Id(15)]
    public string StopReason { get; init; } = "";

    /// <summary>Number of the newest generation; 0 before the first.</summary>
    public long Generation => Generations.IsEmpty ? 0 : Generations[^1].Number;

    /// <summary>It waits, trains, or is paused.</summary>
    public bool IsLive => State is RunState.Waiting or RunState.Training or RunState.Paused;
}

/// <summary>The older part of a long ledger, stored apart so that the run's record stays small.</summary>
[GenerateSerializer, Alias("darkmatter.SealedGenerations")]
public sealed record SealedGenerations
{
    /// <summary>Oldest first.</summary>
    [Id(0)]
    public ImmutableList<GenerationRecord> Generations { get; init; } = [];
}

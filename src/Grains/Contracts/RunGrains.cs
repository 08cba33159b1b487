using System.Collections.Immutable;
using Orleans;
using Orleans.Concurrency;

namespace DarkMatter.Grains;

/// <summary>Why a request was refused.</summary>
[GenerateSerializer, Alias("darkmatter.Refusal")]
public enum Refusal
{
    /// <summary>Not refused.</summary>
    None = 0,

    /// <summary>It does not exist.</summary>
    NotFound = 1,

    /// <summary>It exists, or lives, already.</summary>
    AlreadyExists = 2,

    /// <summary>The state it is in does not allow it.</summary>
    FailedPrecondition = 3,

    /// <summary>The request belongs to a generation that is over.</summary>
    StaleGeneration = 4,

    /// <summary>The request makes no sense.</summary>
    InvalidArgument = 5,
}

/// <summary>A run, or why the request was refused.</summary>
[GenerateSerializer, Alias("darkmatter.RunAnswer")]
public sealed record RunAnswer
{
    /// <summary>None when there is a run.</summary>
    [Id(0)]
    public Refusal Refusal { get; init; }

    /// <summary>Why it was refused, for people.</summary>
    [Id(1)]
    public string Message { get; init; } = "";

    /// <summary>The run; null when refused.</summary>
    [Id(2)]
    public RunView? Run { get; init; }

    /// <summary>An answer with a run.</summary>
    public static RunAnswer Of(RunView run) => new() { Run = run };

    /// <summary>An answer without one.</summary>
    public static RunAnswer Refused(Refusal refusal, string message) => new() { Refusal = refusal, Message = message };
}

/// <summary>One run: its life cycle and its ledger. The key is the run's name.</summary>
[Alias("darkmatter.IRunGrain")]
public interface IRunGrain : IGrainWithStringKey
{
    /// <summary>Creates the run. Refused when it exists.</summary>
    [Alias("Create")]
    Task<RunAnswer> Create(RunPlan plan);

    /// <summary>
    /// Reopens an ended run at <paramref name="startStep"/>. Refused when it does not exist, is live, has another recipe or dataset,
    /// or has no checkpoint of that step (a <paramref name="checkpoint"/> given with the request counts).
    /// </summary>
    [Alias("Resume")]
    Task<RunAnswer> Resume(RunPlan plan, long startStep, CheckpointRecord? checkpoint);

    /// <summary>The run, or null.</summary>
    [ReadOnly, Alias("Get")]
    Task<RunView?> Get();

    /// <summary>Durable when it returns: only then may trainers be told of the generation.</summary>
    [Alias("BeginGeneration")]
    Task<RunView> BeginGeneration(GenerationRecord generation, ImmutableArray<Seat> seats);

    /// <summary>The newest generation's trainers in rank order; empty before the first.</summary>
    [ReadOnly, Alias("Seats")]
    Task<ImmutableArray<Seat>> Seats();

    /// <summary>The ranks of a generation agreed on a state; durable when it returns. Telling it again changes nothing.</summary>
    [Alias("Began")]
    Task<RunView> Began(GenerationBeginning beginning);

    /// <summary>Takes in how a state came about, for reports that were lost; durable when it returns.</summary>
    [Alias("Prove")]
    Task<RunView> Prove(ImmutableArray<LineageSegment> lineage);

    /// <summary>A live run waits, for trainers or on request; durable when it returns.</summary>
    [Alias("Hold")]
    Task<RunView> Hold(RunState state, string reason, RunProgress? progress);

    /// <summary>What an audit reads, without the quarantined samples; null when there is no run.</summary>
    [ReadOnly, Alias("Ledger")]
    Task<RunLedger?> Ledger();

    /// <summary>Takes in progress, at most some times a second; durable within a second and at the end.</summary>
    [Alias("Report")]
    Task Report(RunProgress progress);

    /// <summary>Fixes the number of steps. The first call counts; durable when it returns.</summary>
    [Alias("PlanSteps")]
    Task<RunView> PlanSteps(long generation, long totalSteps);

    /// <summary>A live run is to stop; durable when it returns. The first reason counts.</summary>
    [Alias("AskToStop")]
    Task<RunView> AskToStop(string reason);

    /// <summary>Ends a live run; durable when it returns. The first end counts.</summary>
    [Alias("End")]
    Task<RunView> End(RunState state, string reason, RunProgress? progress);

    /// <summary>Notes a published checkpoint; durable when it returns.</summary>
    [Alias("NoteCheckpoint")]
    Task<RunAnswer> NoteCheckpoint(CheckpointRecord checkpoint);

    /// <summary>Notes newly quarantined samples of some shard ranges; returns the run's total.</summary>
    [Alias("NoteQuarantined")]
    Task<long> NoteQuarantined(int count, ImmutableArray<int> ranges);

    /// <summary>The shard ranges that have quarantined samples, ascending.</summary>
    [ReadOnly, Alias("QuarantinedRanges")]
    Task<ImmutableArray<int>> QuarantinedRanges();
}

/// <summary>The names of all runs. The key is <see cref="Key"/>.</summary>
[Alias("darkmatter.IRunListGrain")]
public interface IRunListGrain : IGrainWithStringKey
{
    /// <summary>The key of the one list.</summary>
    const string Key = "all";

    /// <summary>Adds a name; durable when it returns.</summary>
    [Alias("Add")]
    Task Add(string run);

    /// <summary>All names in order.</summary>
    [ReadOnly, Alias("Names")]
    Task<ImmutableArray<string>> Names();
}

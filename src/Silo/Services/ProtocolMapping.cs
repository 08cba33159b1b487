using System.Collections.Immutable;
using DarkMatter.Grains;
using DarkMatter.Protocol;
using Grpc.Core;

namespace DarkMatter.Silo;

/// <summary>From the grains' words to the wire's.</summary>
internal static class ProtocolMapping
{
    public static RunStatus ToStatus(RunView run)
    {
        var status = new RunStatus
        {
            Run = run.Run,
            State = (Protocol.RunState)(int)run.State,
            Reason = run.Reason,
            Generation = run.Progress.Generation,
            World = run.Plan.World,
            Step = run.Progress.Step,
            TotalSteps = run.TotalSteps,
            Loss = run.Progress.Loss,
            ImagesPerSecond = run.Progress.ImagesPerSecond,
            EmbeddingStd = run.Progress.EmbeddingStd,
            Health = run.Progress.Health,
            CheckpointStep = run.Checkpoint?.Step ?? 0,
            CheckpointPath = run.Checkpoint?.Path ?? "",
            RecipeYaml = run.Plan.RecipeYaml,
            Samples = run.Plan.Samples,
            Batch = run.Plan.Batch,
            Quarantined = run.Quarantined,
            MinWorld = run.Plan.MinWorld,
            MaxWorld = run.Plan.LargestWorld,
            Notice = run.Progress.Notice,
            RolledBack = run.RolledBack,
        };
        status.Members.AddRange(run.Progress.Members.Select(m => new Member
        {
            Name = m.Name,
            Rank = m.Rank,
            Address = m.Address,
            Step = m.Step,
            ProcessId = m.ProcessId,
            Alive = m.Alive,
            Spare = m.Spare,
            Slow = m.Slow,
            ComputeSeconds = m.ComputeSeconds,
        }));
        return status;
    }

    public static Standby ToStandby(RunBrief brief, string reason, bool atOnce, bool checkpoint = false) => new()
    {
        Reason = reason,
        AtOnce = atOnce,
        Checkpoint = checkpoint,
        RecipeYaml = brief.RecipeYaml,
        LaneCount = brief.LaneCount,
        DatasetDigest = brief.DatasetDigest,
        TotalSteps = brief.TotalSteps,
    };

    public static GenerationBeginning ToBeginning(GenerationBegan began) => new()
    {
        Generation = began.Generation,
        StartStep = began.StartStep,
        StateHash = Convert.ToHexStringLower(began.StateHash.Span),
        Source = began.Source,
        Healed = [.. began.Healed],
        HealedBytes = began.HealedBytes,
        HealSeconds = began.HealSeconds,
        Lineage = ToLineage(began.Lineage),
    };

    public static ImmutableArray<LineageSegment> ToLineage(IEnumerable<Protocol.Lineage> lineage) =>
        [.. lineage.Select(segment => new LineageSegment(segment.Generation, segment.StartStep, segment.EndStep, segment.SamplesDigest))];

    public static Assignment ToAssignment(Seating seating, Seat seat)
    {
        var assignment = new Assignment
        {
            Generation = seating.Generation,
            Rank = seat.Rank,
            World = seating.Seats.Length,
            StartStep = seating.StartStep,
            TotalSteps = seating.Brief.TotalSteps,
            CheckpointPath = seating.Checkpoint?.Path ?? "",
            CheckpointStep = seating.Checkpoint?.Step ?? 0,
            CheckpointGeneration = seating.Checkpoint?.Generation ?? 0,
            RecipeYaml = seating.Brief.RecipeYaml,
            LaneCount = seating.Brief.LaneCount,
            DatasetDigest = seating.Brief.DatasetDigest,
            AtOnce = seating.AtOnce,
            Reason = seating.Reason,
            SaveOnly = seating.Saving,
        };
        assignment.Lanes.AddRange(seat.Lanes);
        assignment.Peers.AddRange(seating.Seats.Select(s => new Member
        {
            Name = s.Name,
            Rank = s.Rank,
            Address = s.Address,
            Step = seating.StartStep,
            ProcessId = s.ProcessId,
            Alive = true,
        }));
        return assignment;
    }

    public static RpcException ToException(Refusal refusal, string message) => new(new Status(
        refusal switch
        {
            Refusal.NotFound => StatusCode.NotFound,
            Refusal.AlreadyExists => StatusCode.AlreadyExists,
            Refusal.FailedPrecondition => StatusCode.FailedPrecondition,
            Refusal.StaleGeneration => StatusCode.Aborted,
            Refusal.InvalidArgument => StatusCode.InvalidArgument,
            _ => StatusCode.Internal,
        },
        message));

    public static RunStatus ToStatusOrThrow(RunAnswer answer) =>
        answer.Run is { } run ? ToStatus(run) : throw ToException(answer.Refusal, answer.Message);
}

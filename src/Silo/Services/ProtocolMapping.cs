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
            CheckpointStep = run.Checkpoint?.Step ?? 0,
            CheckpointPath = run.Checkpoint?.Path ?? "",
            RecipeYaml = run.Plan.RecipeYaml,
            Samples = run.Plan.Samples,
            Batch = run.Plan.Batch,
            Quarantined = run.Quarantined,
        };
        status.Members.AddRange(run.Progress.Members.Select(m => new Member
        {
            Name = m.Name,
            Rank = m.Rank,
            Address = m.Address,
            Step = m.Step,
            ProcessId = m.ProcessId,
            Alive = m.Alive,
        }));
        return status;
    }

    public static Assignment ToAssignment(Seating seating, Seat seat)
    {
        var assignment = new Assignment
        {
            Generation = seating.Generation,
            Rank = seat.Rank,
            World = seating.Seats.Length,
            StartStep = seating.StartStep,
            TotalSteps = seating.TotalSteps,
            CheckpointPath = seating.CheckpointPath,
            RecipeYaml = seating.RecipeYaml,
            LaneCount = seating.LaneCount,
            DatasetDigest = seating.DatasetDigest,
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

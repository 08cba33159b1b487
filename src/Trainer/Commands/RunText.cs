using System.Globalization;
using System.Text.Json.Nodes;
using DarkMatter.Protocol;

namespace DarkMatter.Trainer.Commands;

/// <summary>One run in a list.</summary>
/// <param name="Name">Its name.</param>
/// <param name="State">Where it is in its life, in lower case.</param>
/// <param name="Step">Committed on every rank.</param>
/// <param name="TotalSteps">0 while unknown.</param>
/// <param name="Checkpoint">Step of the newest checkpoint; 0 for none.</param>
/// <param name="Loss">Of the newest step.</param>
internal sealed record RunRow(string Name, string State, long Step, long TotalSteps, long Checkpoint, double Loss)
{
    /// <summary>The row of a run at a silo.</summary>
    public RunRow(RunStatus run) : this(run.Run, RunText.Word(run.State), run.Step, run.TotalSteps, run.CheckpointStep, run.Loss)
    {
    }

    public string ToText() => string.Create(CultureInfo.InvariantCulture,
        $"{Name,-32} {State,-12} step {Step}{(TotalSteps > 0 ? $"/{TotalSteps}" : "")}  loss {Loss:0.0000}  checkpoint {Checkpoint}");

    public JsonObject ToJson() => new()
    {
        ["run"] = Name,
        ["state"] = State,
        ["step"] = Step,
        ["total_steps"] = TotalSteps,
        ["loss"] = RunText.Number(Loss),
        ["checkpoint_step"] = Checkpoint,
    };
}

/// <summary>A run's status for people and for scripts.</summary>
internal static class RunText
{
    public static string Word(RunState state) => state.ToString().ToLowerInvariant();

    /// <summary>JSON has no NaN: what is not a number is null.</summary>
    public static JsonNode? Number(double value) => double.IsFinite(value) ? JsonValue.Create(value) : null;

    public static void Print(RunStatus run, bool json, TextWriter output)
    {
        if (json)
        {
            output.WriteLine(ToJson(run).ToJsonString());
            return;
        }
        output.WriteLine(new RunRow(run).ToText());
        if (run.Reason.Length > 0)
        {
            output.WriteLine($"  {run.Reason}");
        }
        if (run.Notice.Length > 0)
        {
            output.WriteLine($"  note: {run.Notice}");
        }
        if (run.Health.Length > 0)
        {
            output.WriteLine($"  embeddings: {run.Health}");
        }
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"  generation {run.Generation}, {run.MinWorld} to {run.MaxWorld} trainers ({run.World} wanted), {run.Quarantined} images quarantined, {run.RolledBack} steps rolled back"));
        foreach (var member in run.Members)
        {
            output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {(member.Spare ? "spare " : $"rank {member.Rank}")}  {member.Name}  process {member.ProcessId}  {member.Address}  step {member.Step}  {Condition(member)}"));
        }
    }

    private static string Condition(Member member) => (member.Alive ? "alive" : "gone")
        + (member.ComputeSeconds > 0 ? string.Create(CultureInfo.InvariantCulture, $", computes {member.ComputeSeconds:0.###} s a step") : "")
        + (member.Slow ? ", SLOW: the others wait for it" : "");

    private static JsonObject ToJson(RunStatus run)
    {
        var shown = new RunRow(run).ToJson();
        shown["reason"] = run.Reason;
        shown["notice"] = run.Notice;
        shown["generation"] = run.Generation;
        shown["world"] = run.World;
        shown["min_world"] = run.MinWorld;
        shown["max_world"] = run.MaxWorld;
        shown["images_per_second"] = Number(run.ImagesPerSecond);
        shown["embedding_std"] = Number(run.EmbeddingStd);
        shown["health"] = run.Health;
        shown["samples"] = run.Samples;
        shown["batch"] = run.Batch;
        shown["quarantined"] = run.Quarantined;
        shown["rolled_back"] = run.RolledBack;
        shown["checkpoint_path"] = run.CheckpointPath;
        shown["members"] = new JsonArray([.. run.Members.Select(member => new JsonObject
        {
            ["name"] = member.Name,
            ["rank"] = member.Rank,
            ["address"] = member.Address,
            ["process_id"] = member.ProcessId,
            ["step"] = member.Step,
            ["alive"] = member.Alive,
            ["spare"] = member.Spare,
            ["slow"] = member.Slow,
            ["compute_seconds"] = Number(member.ComputeSeconds),
        })]);
        return shown;
    }
}

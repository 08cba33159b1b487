using System.Globalization;
using System.Text.RegularExpressions;
using DarkMatter.EndToEnd.Tests;
using DarkMatter.Protocol;

namespace DarkMatter.Faults;

/// <summary>The row of the failure table that happens to the numbers.</summary>
public sealed partial class TrainingFaultTests(Workshop workshop)
{
    /// <summary>
    /// A decay that multiplies every weight by about 1 − 10 · 0.5 = −4 a step: normalisation hides it from the loss until, some dozens of steps
    /// later, the weights have grown out of float32.
    /// </summary>
    [Fact]
    public async Task LossIsNoNumber_TheRunFailsAtThatStep_SaysWhatToDo_AndTheLastCheckpointStays()
    {
        await using var cluster = new Cluster(workshop, "nan");
        await cluster.BeginAsync(
            2, "--set", "train.checkpoint_every=5", "--set", "optimizer.lr=10", "--set", "optimizer.warmup=0", "--set", "optimizer.weight_decay=0.5", "--set", "optimizer.momentum=0");
        var over = await cluster.UntilOverAsync();
        over.State.ShouldBe(RunState.Failed);
        var step = long.Parse(StepOf().Match(over.Reason).Groups[1].Value, CultureInfo.InvariantCulture);
        over.Reason.ShouldContain("the step was not applied. Try a lower optimizer.lr");
        over.Reason.ShouldContain($"Continue from the checkpoint of step {over.CheckpointStep}");
        over.CheckpointStep.ShouldBeInRange(5, step);
        foreach (var trainer in cluster.Trainers.Values)
            (await trainer.FinishAsync()).Code.ShouldNotBe(0);
        cluster.Trainers.Values.ShouldContain(trainer => trainer.Error.Contains("the step was not applied", StringComparison.Ordinal));

        (await Command.RunAsync(workshop.Path, "checkpoints", "verify", cluster.Run, "--silo", cluster.Url)).ShouldEndWith(0);
        (await cluster.AuditAsync()).GetProperty("committed_steps").GetInt64().ShouldBe(step);
    }

    [GeneratedRegex(@"step (\d+): ")]
    private static partial Regex StepOf();
}

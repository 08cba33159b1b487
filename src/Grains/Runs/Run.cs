using System.Globalization;

namespace DarkMatter.Grains;

/// <summary>
/// The life cycle of a run as functions from one record to the next: no clock, no storage. <c>RunGrain</c> hosts it.
/// <code>
/// (none) ─Create→ Waiting ⇄ Training ⇄ Paused      Waiting | Training | Paused ─End→ Completed | Failed | Stopped ─Resume→ Waiting
/// </code>
/// </summary>
public static partial class Run
{
    private const int MaxNameLength = 128;

    /// <summary>Names what is wrong with a run's name and plan; empty when nothing is.</summary>
    public static IReadOnlyList<string> Problems(string name, RunPlan plan)
    {
        var problems = new List<string>();
        if (name.Length is 0 or > MaxNameLength || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.') || name[0] == '.')
        {
            problems.Add($"run name '{name}' must have 1 to {MaxNameLength} letters, digits, '-', '_' or '.', and not begin with '.'");
        }

        Require(plan.World >= 1, $"world is {plan.World}, but at least 1 trainer is needed");
        Require(plan.Lanes >= plan.World, $"world is {plan.World}, but there are only {plan.Lanes} lanes: each trainer needs one");
        Require(plan.MinWorld >= 1 && plan.MinWorld <= plan.World, $"min_world is {plan.MinWorld}, but must be 1 to the world of {plan.World}");
        Require(plan.MaxWorld == 0 || (plan.MaxWorld >= plan.World && plan.MaxWorld <= plan.Lanes),
            $"max_world is {plan.MaxWorld}, but must be the world of {plan.World} to the {plan.Lanes} lanes");
        Require(plan.Lanes < 1 || plan.Batch >= plan.Lanes && plan.Batch % plan.Lanes == 0,
            $"batch {plan.Batch} does not divide into {plan.Lanes} lanes: choose a multiple");
        Require(plan.TotalSteps >= 0, $"total_steps is {plan.TotalSteps}, but cannot be negative");
        Require(plan.Samples >= plan.Batch, $"the dataset has {plan.Samples} samples, fewer than one batch of {plan.Batch}");
        return problems;

        void Require(bool holds, string problem)
        {
            if (!holds)
            {
                problems.Add(problem);
            }
        }
    }

    /// <summary>A new run, or why not.</summary>
    public static RunChange Create(string name, RunRecord? existing, RunPlan plan)
    {
        if (existing is not null)
        {
            return RunChange.Refuse(
                Refusal.AlreadyExists,
                existing.IsLive
                    ? $"run '{name}' exists and is {Word(existing.State)}: watch it, stop it first, or choose another name"
                    : $"run '{name}' exists and has {Word(existing.State)} at step {existing.Progress.Step}: "
                      + "continue it with --resume or choose another name");
        }

        if (Problems(name, plan) is { Count: > 0 } problems)
        {
            return RunChange.Refuse(Refusal.InvalidArgument, string.Join("; ", problems));
        }

        return RunChange.To(new RunRecord
        {
            State = RunState.Waiting,
            Reason = Waiting(plan.World),
            Plan = plan,
            TotalSteps = plan.TotalSteps,
        });
    }

    /// <summary>An ended run that waits again, from a checkpoint; or why not.</summary>
    public static RunChange Resume(string name, RunRecord? existing, RunPlan plan, long startStep, CheckpointRecord? given)
    {
        if (existing is null)
        {
            return RunChange.Refuse(Refusal.NotFound, $"there is no run '{name}' to resume: start it without --resume");
        }

        if (existing.IsLive)
        {
            return RunChange.Refuse(
                Refusal.AlreadyExists, $"run '{name}' is {Word(existing.State)} already: watch it, or stop it before resuming");
        }

        if (existing.State == RunState.Completed)
        {
            return RunChange.Refuse(
                Refusal.FailedPrecondition,
                $"run '{name}' is completed at step {existing.Progress.Step}: there is nothing left to resume");
        }

        if (RecipeComparison.ChangedKeys(existing.Plan.RecipeYaml, plan.RecipeYaml) is { Count: > 0 } changed)
        {
            return RunChange.Refuse(
                Refusal.FailedPrecondition,
                $"the recipe of run '{name}' differs from the one it began with in {string.Join(", ", changed)}: "
                + "resume with the same recipe, or start a new run");
        }

        if (existing.Plan.DatasetDigest != plan.DatasetDigest)
        {
            return RunChange.Refuse(
                Refusal.FailedPrecondition,
                $"the dataset of run '{name}' differs from the one it began with "
                + $"({existing.Plan.DatasetDigest[..Math.Min(12, existing.Plan.DatasetDigest.Length)]}… in {existing.Plan.Dataset}): "
                + "resume with the same images, or start a new run");
        }

        if (Problems(name, plan) is { Count: > 0 } problems)
        {
            return RunChange.Refuse(Refusal.InvalidArgument, string.Join("; ", problems));
        }

        var from = existing.Checkpoints.Find(c => c.Step == startStep) ?? (given?.Step == startStep ? given : null);
        if (startStep != 0 && from is null)
        {
            string known = existing.Checkpoints.IsEmpty ? "none" : string.Join(", ", existing.Checkpoints.Select(c => c.Step));
            return RunChange.Refuse(
                Refusal.FailedPrecondition, $"run '{name}' has no checkpoint of step {startStep}; published ones: {known}");
        }

        return RunChange.To(existing with
        {
            State = RunState.Waiting,
            Reason = Waiting(plan.World),
            Plan = plan with { TotalSteps = existing.Plan.TotalSteps },
            TotalSteps = existing.StepsFixed || plan.TotalSteps == 0 ? existing.TotalSteps : plan.TotalSteps,
            StartStep = startStep,
            StartCheckpoint = from,
            Checkpoints = from is null ? [] : existing.Checkpoints.RemoveAll(c => c.Step >= startStep).Insert(0, from),
            Seats = [],
            StopReason = "",
            EarlierGeneration = existing.Generation,
            Progress = new RunProgress { Generation = existing.Generation, Step = startStep },
        });
    }

    /// <summary>A live run that waits, for trainers or on request.</summary>
    public static RunRecord Hold(RunRecord run, RunState state, string reason) =>
        run.IsLive ? run with { State = state, Reason = reason } : run;

    /// <summary>Fixes the number of steps: once, never below what is committed.</summary>
    public static RunRecord PlanSteps(RunRecord run, long generation, long totalSteps) =>
        !run.IsLive || generation == 0 || generation != run.Generation || run.StepsFixed || totalSteps < Math.Max(1, run.Progress.Step)
            ? run
            : run with { TotalSteps = totalSteps, StepsFixed = true };

    /// <summary>A live run that is to stop: the first reason counts.</summary>
    public static RunRecord AskToStop(RunRecord run, string reason) =>
        run.IsLive && run.StopReason.Length == 0 ? run with { StopReason = reason } : run;

    /// <summary>Ends a live run. A failure's reason says how to go on.</summary>
    public static RunRecord End(RunRecord run, RunState state, string reason)
    {
        if (!run.IsLive)
        {
            return run;
        }

        return run with
        {
            State = state,
            Reason = state == RunState.Completed ? reason : $"{reason} {HowToResume(run)}",
            Progress = run.Progress with { Members = [.. run.Progress.Members.Select(m => m with { Alive = false })] },
        };
    }

    /// <summary>The run as people see it.</summary>
    public static RunView View(string name, RunRecord run, long version) => new()
    {
        Run = name,
        State = run.State,
        Reason = run.Reason,
        Plan = run.Plan,
        Progress = run.Progress,
        TotalSteps = run.TotalSteps,
        Checkpoint = run.Checkpoints.IsEmpty ? null : run.Checkpoints[0],
        Quarantined = run.Quarantined,
        StartStep = run.StartStep,
        StartCheckpoint = run.StartCheckpoint,
        RolledBack = run.RolledBack,
        Formed = run.Generation > run.EarlierGeneration,
        Saving = !run.Generations.IsEmpty && run.Generations[^1].Saving,
        StopReason = run.StopReason,
        Began = !run.Generations.IsEmpty && run.Generations[^1].Began,
        Version = version,
    };

    /// <summary>What to do after its end, in a sentence.</summary>
    public static string HowToResume(RunRecord run) => run.Checkpoints.IsEmpty
        ? "No checkpoint was published yet: resuming with `darkmatter pretrain --resume` starts from the first step."
        : string.Create(
            CultureInfo.InvariantCulture,
            $"Continue from the checkpoint of step {run.Checkpoints[0].Step} with `darkmatter pretrain --resume` and the same recipe.");

    private static string Waiting(int world) => world == 1 ? "waiting for 1 trainer" : $"waiting for {world} trainers";

    private static string Word(RunState state) => state switch
    {
        RunState.Waiting => "waiting for trainers",
        RunState.Training => "training",
        RunState.Completed => "completed",
        RunState.Failed => "failed",
        RunState.Stopped => "stopped",
        RunState.Paused => "paused",
        _ => "not created",
    };
}

/// <summary>The next record, or why there is none.</summary>
/// <param name="Next">The record to store.</param>
/// <param name="Refusal">Why there is no record.</param>
/// <param name="Message">The same for people.</param>
public sealed record RunChange(RunRecord? Next, Refusal Refusal, string Message)
{
    /// <summary>A change.</summary>
    public static RunChange To(RunRecord next) => new(next, Refusal.None, "");

    /// <summary>No change.</summary>
    public static RunChange Refuse(Refusal refusal, string message) => new(null, refusal, message);
}

namespace DarkMatter.Trainer.Training;

/// <summary>
/// How many steps fit a time budget; decided once, from the rate of the first steps, so that the schedule is known from then on.
/// A machine that later becomes slower takes longer than its budget, by as much.
/// </summary>
public static class StepPlan
{
    /// <summary>Steps before the rate is measured: they compile code and fill caches.</summary>
    public const int WarmupSteps = 6;

    /// <summary>The part of the budget that goes by, at least, before the plan: the first steps of a process are slower than the later ones.</summary>
    public const double Measured = 0.06;

    /// <summary>The part of the budget that is planned with; the rest absorbs a rate that falls.</summary>
    public const double Planned = 0.97;

    /// <summary>Steps to measure beyond those that were, so that <see cref="Measured"/> of the budget has gone by.</summary>
    /// <param name="elapsed">Time the run has trained.</param>
    /// <param name="measured">Durations of the measured steps, at least one.</param>
    /// <param name="budget">Time for all steps.</param>
    public static long StepsStillToMeasure(TimeSpan elapsed, IReadOnlyList<TimeSpan> measured, TimeSpan budget) =>
        (long)Math.Max(0, ((budget.TotalSeconds * Measured) - elapsed.TotalSeconds) / Math.Max(PerStep(measured), 1e-6));

    /// <summary>The total number of steps of the run.</summary>
    /// <param name="limit">What the recipe allows without a budget.</param>
    /// <param name="done">Steps applied.</param>
    /// <param name="elapsed">Time the run has trained.</param>
    /// <param name="measured">Durations of the measured steps in their order, at least one; the later half counts.</param>
    /// <param name="budget">Time for all steps.</param>
    public static long Decide(long limit, long done, TimeSpan elapsed, IReadOnlyList<TimeSpan> measured, TimeSpan budget)
    {
        var perStep = PerStep(measured);
        var left = (budget.TotalSeconds * Planned) - elapsed.TotalSeconds;
        var fits = done + (long)Math.Max(0, left / Math.Max(perStep, 1e-6));
        return Math.Min(limit, Math.Max(fits, done + 1));
    }

    // The median: one step that waited for something else must not shorten the run.
    private static double PerStep(IReadOnlyList<TimeSpan> measured)
    {
        var settled = measured.Skip(measured.Count / 2).Select(m => m.TotalSeconds).Order().ToList();
        return settled[settled.Count / 2];
    }
}

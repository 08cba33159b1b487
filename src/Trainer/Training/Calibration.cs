using System.Runtime.InteropServices;
using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Training;

/// <summary>Turns a time budget into a number of steps: rank 0 measures the first steps, decides once, and tells the others.</summary>
/// <param name="options">Budget and how many steps to measure.</param>
/// <param name="state">Gets the plan.</param>
/// <param name="ranks">The generation.</param>
/// <param name="session">Is told, on rank 0.</param>
public sealed class Calibration(TrainOptions options, TrainState state, ICollective ranks, ITrainingSession session)
{
    private readonly List<TimeSpan> _measured = [];
    private int _steps;
    private long _decideAfter;

    /// <summary>Counts a step.</summary>
    /// <returns>True once: when this step fixed the plan.</returns>
    public bool StepTook(TimeSpan elapsed)
    {
        if (state.Planned || options.Budget is not { } budget)
            return false;
        if (_steps++ >= StepPlan.WarmupSteps)
            _measured.Add(elapsed);
        if (_measured.Count < options.CalibrationSteps)
            return false;

        // Each rank's clock differs, and all must decide after the same step: rank 0 says which.
        if (_decideAfter == 0)
            _decideAfter = FromRankZero(_steps + StepPlan.StepsStillToMeasure(state.Trained, _measured, budget));
        if (_steps < _decideAfter)
            return false;

        var total = FromRankZero(StepPlan.Decide(options.TotalSteps, state.Step, state.Trained, _measured, budget));
        state.Plan(total);
        if (ranks.Rank == 0)
            session.StepsPlanned(total);
        return true;
    }

    private long FromRankZero(long value)
    {
        if (ranks.World > 1)
            ranks.Broadcast(MemoryMarshal.AsBytes(new Span<long>(ref value)), root: 0);
        return value;
    }
}

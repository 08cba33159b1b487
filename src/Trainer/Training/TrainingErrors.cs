using System.Globalization;

namespace DarkMatter.Trainer.Training;

/// <summary>The loss or a gradient became infinite or not a number. The update was not applied, on any rank.</summary>
public sealed class TrainingDivergedException : Exception
{
    internal TrainingDivergedException(TrainOptions options, TrainState state, double loss, double lr)
        : base(Describe(options, state, loss, lr)) => Step = state.Step;

    /// <summary>Updates applied before.</summary>
    public long Step { get; }

    private static string Describe(TrainOptions options, TrainState state, double loss, double lr) => string.Create(CultureInfo.InvariantCulture,
        $"run '{options.Run}', step {state.Step}: {(double.IsFinite(loss) ? "a gradient is not finite, though the loss is" : "the loss is")} {loss}; the step was not applied. "
        + $"Try a lower optimizer.lr (it was {lr:g4} at this step, peak {options.Optimizer.LearningRate:g4}), a longer optimizer.warmup (now {options.Optimizer.Warmup:g3}), "
        + $"{(state.Method.Autocast ? "train.precision: float32, " : "")}or, where the method has one, a higher method.temperature, and resume from the last checkpoint.");
}

/// <summary>
/// Ranks do not hold the same parameters, buffers and optimizer memory: invariant 1 is broken. Nothing is written; those outside the
/// majority copy the majority's state in the next generation.
/// </summary>
/// <param name="step">Updates applied.</param>
/// <param name="generation">The generation.</param>
/// <param name="hashes">Of every rank.</param>
/// <param name="tainted">The ranks whose state is wrong; all of them where there is no majority.</param>
public sealed class StateDivergedException(long step, long generation, IReadOnlyList<ulong> hashes, IReadOnlyList<int> tainted) : Exception(
    $"step {step}, generation {generation}: the ranks hold different states ({string.Join(", ", hashes.Select((h, r) => $"rank {r} {h:x16}"))}). "
    + (tainted.Count < hashes.Count
        ? $"Rank {string.Join(", ", tainted)} is outside the majority and copies its state; if it happens again, its machine computes wrongly"
        : "There is no majority: all go back to the newest checkpoint; if it happens again, a machine computes wrongly"))
{
    /// <summary>The ranks whose state is wrong.</summary>
    public IReadOnlyList<int> Tainted { get; } = tainted;
}

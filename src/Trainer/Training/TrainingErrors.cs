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
        + $"{(state.BFloat16 ? "train.precision: float32, " : "")}or a higher method.temperature (now {options.Method.Temperature:g3}), and resume from the last checkpoint.");
}

/// <summary>Ranks do not hold the same parameters, buffers and optimizer memory: invariant 1 is broken and nothing more may be written.</summary>
public sealed class StateDivergedException(string message) : Exception(message);

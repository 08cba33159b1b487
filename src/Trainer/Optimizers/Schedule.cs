namespace DarkMatter.Trainer.Optimizers;

/// <summary>
/// The learning rate of every step: linear to the peak, then a half cosine or milestones. A pure function of the step. Source:
/// Loshchilov &amp; Hutter 2016 without restarts, after Goyal et al. 2017's warm-up.
/// </summary>
/// <param name="options">Peak, warm-up and end.</param>
/// <param name="totalSteps">Steps of the whole run, 1 and above.</param>
/// <param name="untrainedSteps">Steps at the start that update nothing: the schedule begins after them, and spans the rest.</param>
public sealed class Schedule(OptimizerOptions options, long totalSteps, long untrainedSteps = 0)
{
    private readonly long _first = Math.Clamp(untrainedSteps, 0, Math.Max(0, totalSteps - 1));

    /// <summary>Steps of the whole run.</summary>
    public long TotalSteps { get; } = totalSteps >= 1
        ? totalSteps
        : throw new ArgumentOutOfRangeException(nameof(totalSteps), totalSteps, "A schedule needs at least one step.");

    /// <summary>Steps that warm up.</summary>
    public long WarmupSteps => (long)Math.Round(options.Warmup * Trained);

    private long Trained => TotalSteps - _first;

    /// <summary>The learning rate of the step that makes update <paramref name="step"/> + 1; it counts from 0.</summary>
    public double At(long step)
    {
        step = Math.Max(0, step - _first);
        if (step < WarmupSteps)
            return options.LearningRate * (options.WarmupFrom + ((1 - options.WarmupFrom) * (step + 1) / WarmupSteps));
        if (options.Decay == RateDecay.Milestones)
        {
            var passed = (step >= options.Milestones.First * Trained ? 1 : 0) + (step >= options.Milestones.Second * Trained ? 1 : 0);
            return options.LearningRate * Math.Pow(10, -passed);
        }

        var progress = Math.Min(1, (double)(step - WarmupSteps) / (Trained - WarmupSteps));
        var end = options.LearningRate * options.FinalLearningRate;
        return end + ((options.LearningRate - end) * 0.5 * (1 + Math.Cos(Math.PI * progress)));
    }

    /// <summary>The weight decay of that step: from its start to its end along half a cosine, without warm-up (DINO's).</summary>
    public double WeightDecayAt(long step)
    {
        var end = options.FinalWeightDecay ?? options.WeightDecay;
        return end + ((options.WeightDecay - end) * 0.5 * (1 + Math.Cos(Math.PI * Math.Min(1, (double)Math.Max(0, step - _first) / Trained))));
    }
}

namespace DarkMatter.Trainer.Optimizers;

/// <summary>The rule that turns a gradient into an update.</summary>
public enum OptimizerName
{
    /// <summary>Stochastic gradient descent with momentum, as torch.optim.SGD defines it.</summary>
    Sgd = 0,

    /// <summary>Layer-wise adaptive rate scaling (You et al. 2017) for large batches; Optimizer.cs states the variant.</summary>
    Lars = 1,

    /// <summary>As LARS, with another trust ratio: NVIDIA apex's LARC without clipping, which SwAV and DeepCluster-v2 use.</summary>
    Larc = 2,

    /// <summary>Adam with decoupled weight decay, as torch.optim.AdamW defines it.</summary>
    AdamW = 3,
}

/// <summary>How the learning rate falls after its warm-up.</summary>
public enum RateDecay
{
    /// <summary>Along half a cosine.</summary>
    Cosine = 0,

    /// <summary>To a tenth at each milestone.</summary>
    Milestones = 1,
}

/// <summary>The optimizer and its learning-rate schedule: linear warm-up, then a half cosine or milestones, a value for every step.</summary>
public sealed record OptimizerOptions
{
    /// <summary>Default <see cref="OptimizerName.Sgd"/>.</summary>
    public OptimizerName Name { get; init; } = OptimizerName.Sgd;

    /// <summary>The peak learning rate for the whole global batch: nothing scales it further. Range above 0, default 0.06.</summary>
    public double LearningRate { get; init; } = 0.06;

    /// <summary>Momentum, 0 to below 1; β₁ of AdamW. Default 0.9.</summary>
    public double Momentum { get; init; } = 0.9;

    /// <summary>Look-ahead momentum (SGD only). Default false.</summary>
    public bool Nesterov { get; init; }

    /// <summary>β₂ of AdamW, 0 to below 1. Default 0.999.</summary>
    public double SquareMomentum { get; init; } = 0.999;

    /// <summary>Weight decay, coupled (but in AdamW): added to the gradient, and so inside the trust ratio of LARS. Range 0 to below 1, default 1e-4.</summary>
    public double WeightDecay { get; init; } = 1e-4;

    /// <summary>What the weight decay ends at, along half a cosine over the whole run; null (default): it stays.</summary>
    public double? FinalWeightDecay { get; init; }

    /// <summary>The learning rate of parameters of one dimension, as a part of the others'. Range above 0 to 1000, default 1.</summary>
    public double OneDimensionalRate { get; init; } = 1;

    /// <summary>The largest norm that the gradient of one parameter may have; longer ones are shortened to it. 0 (default): any.</summary>
    public double Clip { get; init; }

    /// <summary>
    /// Leave parameters of one dimension (biases and normalisation) out of weight decay, and out of LARS' trust ratio. Default true, as
    /// LARS is used by every reference code; plain SGD recipes that follow torchvision set it to false.
    /// </summary>
    public bool ExcludeOneDimensional { get; init; } = true;

    /// <summary>η of LARS: the part of a layer's norm one step may move at learning rate 1. Range above 0, default 1e-3.</summary>
    public double TrustCoefficient { get; init; } = 1e-3;

    /// <summary>The part of all steps in which the learning rate rises linearly. Range 0 to 0.9, default 0.05.</summary>
    public double Warmup { get; init; } = 0.05;

    /// <summary>What the warm-up begins at, as a part of <see cref="LearningRate"/>. Range 0 to 1, default 0.</summary>
    public double WarmupFrom { get; init; }

    /// <summary>Default <see cref="RateDecay.Cosine"/>.</summary>
    public RateDecay Decay { get; init; }

    /// <summary>The parts of all steps after which the rate falls to a tenth, for <see cref="RateDecay.Milestones"/>. Default 0.6 and 0.8.</summary>
    public (double First, double Second) Milestones { get; init; } = (0.6, 0.8);

    /// <summary>What the cosine ends at, as a part of <see cref="LearningRate"/>. Range 0 to 1, default 0.</summary>
    public double FinalLearningRate { get; init; }

    /// <summary>Everything that is wrong with these options; empty when nothing is.</summary>
    public IEnumerable<string> Problems()
    {
        if (!Enum.IsDefined(Name))
            yield return $"optimizer.name: {Name} is not one of {string.Join(", ", Enum.GetNames<OptimizerName>())}";
        if (!(LearningRate > 0 && double.IsFinite(LearningRate)))
            yield return $"optimizer.lr: {LearningRate} is not a positive number";
        if (!(Momentum is >= 0 and < 1))
            yield return $"optimizer.momentum: {Momentum} is outside [0, 1)";
        if (Nesterov && Name != OptimizerName.Sgd)
            yield return "optimizer.nesterov: only sgd has it; remove it or choose name: sgd";
        if (Nesterov && Momentum == 0)
            yield return "optimizer.nesterov: it needs a momentum above 0";
        if (!(SquareMomentum is >= 0 and < 1))
            yield return $"optimizer.square_momentum: {SquareMomentum} is outside [0, 1)";
        if (FinalWeightDecay is { } final && !(final is >= 0 and < 1))
            yield return $"optimizer.final_weight_decay: {final} is outside [0, 1)";
        if (!(OneDimensionalRate > 0 && OneDimensionalRate <= 1000))
            yield return $"optimizer.one_dimensional_lr: {OneDimensionalRate} is outside (0, 1000]; it is a part of lr";
        if (!(Clip >= 0 && double.IsFinite(Clip)))
            yield return $"optimizer.clip: {Clip} is not a number of at least 0";
        if (!(WarmupFrom is >= 0 and <= 1))
            yield return $"optimizer.warmup_from: {WarmupFrom} is outside [0, 1]; it is a part of lr";
        if (!(Milestones.First >= 0 && Milestones.First <= Milestones.Second && Milestones.Second <= 1))
            yield return $"optimizer.milestones: [{Milestones.First}, {Milestones.Second}] do not rise within [0, 1]; they are parts of all steps";
        if (!(WeightDecay is >= 0 and < 1))
            yield return $"optimizer.weight_decay: {WeightDecay} is outside [0, 1)";
        if (!(TrustCoefficient > 0 && double.IsFinite(TrustCoefficient)))
            yield return $"optimizer.trust_coefficient: {TrustCoefficient} is not a positive number";
        if (!(Warmup is >= 0 and <= 0.9))
            yield return $"optimizer.warmup: {Warmup} is outside [0, 0.9]; it is the part of all steps";
        if (!(FinalLearningRate is >= 0 and <= 1))
            yield return $"optimizer.final_lr: {FinalLearningRate} is outside [0, 1]; it is a part of lr";
    }
}

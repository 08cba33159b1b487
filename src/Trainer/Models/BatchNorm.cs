using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Stack;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DarkMatter.Trainer.Models;

/// <summary>What the normalisation layers of one network have in common.</summary>
/// <param name="Stack">Computes them.</param>
/// <param name="Collective">The ranks whose batch they normalise over, asked for at every call, since they change with the generation; null for this
/// rank's batch alone.</param>
public sealed record Normalization(ITorchStack Stack, ICollective? Collective)
{
    /// <summary>A layer over <paramref name="channels"/> channels.</summary>
    /// <param name="channels">Size of dimension 1 of its input.</param>
    /// <param name="shift">Whether a bias is learned; it is kept at 0 otherwise.</param>
    /// <param name="scale">Whether a weight is learned; it is kept at 1 otherwise.</param>
    public BatchNorm Layer(int channels, bool shift = true, bool scale = true) => new(channels, shift, scale, this);
}

/// <summary>
/// Batch normalisation of [n, C] or [n, C, H, W], over this rank's batch or the global one. Names and defaults are torch's
/// <c>BatchNorm2d</c>: eps 1e-5, momentum 0.1, unbiased running variance. Ranks may have different n.
/// </summary>
public sealed class BatchNorm : Module<Tensor, Tensor>
{
    private const double Eps = 1e-5;
    private const double Momentum = 0.1;
    private readonly ITorchStack _stack;
    private readonly ICollective? _ranks;
    private readonly Parameter? weight;
    private readonly Parameter? bias;
    private readonly Tensor running_mean;
    private readonly Tensor running_var;
    private readonly Tensor num_batches_tracked;

    internal BatchNorm(int channels, bool shift, bool scale, Normalization normalization)
        : base(nameof(BatchNorm))
    {
        _stack = normalization.Stack;
        _ranks = normalization.Collective;
        weight = scale ? Parameter(ones(channels)) : null;
        bias = shift ? Parameter(zeros(channels)) : null;
        running_mean = zeros(channels);
        running_var = ones(channels);
        num_batches_tracked = zeros(Array.Empty<long>(), dtype: ScalarType.Int64);
        RegisterComponents();
    }

    /// <summary>weight · (x − mean) / √(variance + eps) + bias.</summary>
    public override Tensor forward(Tensor input) => Apply(input, relu: false, residual: null);

    /// <summary>The same, then max(·, 0).</summary>
    public Tensor NormalizeRelu(Tensor x) => Apply(x, relu: true, residual: null);

    /// <summary>The end of a residual block: normalised x plus <paramref name="residual"/>, then max(·, 0).</summary>
    public Tensor NormalizeAddRelu(Tensor x, Tensor residual) => Apply(x, relu: true, residual);

    /// <summary>Makes the output 0 until training moves the weight.</summary>
    internal void StartAtZero()
    {
        using (no_grad())
            weight?.zero_();
    }

    private Tensor Apply(Tensor x, bool relu, Tensor? residual)
    {
        if (training)
        {
            using (no_grad())
                num_batches_tracked.add_(1);
            return _stack.BatchNorm(x, weight, bias, running_mean, running_var, Momentum, Eps, relu, residual, _ranks is { World: > 1 } ? _ranks.AllReduceSum : null);
        }

        var y = functional.batch_norm(x, running_mean, running_var, weight, bias, training: false, Momentum, Eps);
        if (residual is not null)
            y = y.add(residual);
        return relu ? y.relu() : y;
    }
}

using static TorchSharp.torch;

namespace DarkMatter.Trainer.Optimizers;

/// <summary>
/// Adam with decoupled weight decay, as torch.optim.AdamW defines it: p −= lr·wd·p; m = β₁m + (1−β₁)g; v = β₂v + (1−β₂)g²;
/// p −= lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps). Source: Loshchilov and Hutter 2019. t counts a parameter's own updates.
/// </summary>
internal sealed class AdamW : IDisposable
{
    private const double Eps = 1e-8;
    private readonly Tensor[] _parameters;
    private readonly Tensor[] _squares;
    private readonly Tensor _updates;
    private readonly double _beta1, _beta2;

    internal AdamW(Tensor[] parameters, OptimizerOptions options)
    {
        (_parameters, _beta1, _beta2) = (parameters, options.Momentum, options.SquareMomentum);
        _squares = [.. parameters.Select(p => zeros_like(p).detach().DetachFromDisposeScope())];
        _updates = zeros([parameters.Length], dtype: ScalarType.Int64).DetachFromDisposeScope();
    }

    /// <summary>The means of squared gradients, and how often each parameter was updated.</summary>
    internal IEnumerable<(string Name, Tensor Tensor)> State(IEnumerable<string> names) =>
        [.. names.Zip(_squares, (name, v) => ("square." + name, v)), ("updates", _updates)];

    /// <summary>Updates parameter <paramref name="index"/> and its memory.</summary>
    internal void Step(int index, Tensor momentum, Tensor gradient, double weightDecay, double lr)
    {
        var (parameter, square) = (_parameters[index], _squares[index]);
        var count = _updates.narrow(0, index, 1);
        count.add_(1);
        var t = count.item<long>();
        parameter.mul_(1 - (lr * weightDecay));
        momentum.mul_(_beta1).add_(gradient, 1 - _beta1);
        square.mul_(_beta2).addcmul_(gradient, gradient, 1 - _beta2);
        var root = (square / (1 - Math.Pow(_beta2, t))).sqrt() + Eps;
        parameter.addcdiv_(momentum, root, -lr / (1 - Math.Pow(_beta1, t)));
    }

    public void Dispose()
    {
        foreach (var square in _squares)
            square.Dispose();
        _updates.Dispose();
    }
}

using DarkMatter.Trainer.Stack;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Optimizers;

/// <summary>
/// SGD or LARS over named parameters, with one momentum each; the whole update is one call into the stack. LARS is the variant with
/// the learning rate outside the momentum buffer (the FB and DeepMind codes), weight decay inside the trust ratio.
/// </summary>
public sealed class Optimizer : IDisposable
{
    private readonly OptimizerOptions _options;
    private readonly ITorchStack _stack;
    private readonly Tensor[] _parameters;
    private readonly Tensor[] _momenta;
    private readonly double[] _weightDecay;
    private readonly bool[] _adapt;

    /// <summary>Starts with all momenta at 0.</summary>
    /// <param name="options">The rule.</param>
    /// <param name="parameters">What is updated, named.</param>
    /// <param name="stack">Computes the update.</param>
    /// <exception cref="ArgumentException">The options have problems; all are named.</exception>
    public Optimizer(OptimizerOptions options, IReadOnlyList<(string Name, Parameter Parameter)> parameters, ITorchStack stack)
    {
        if (options.Problems().ToList() is { Count: > 0 } problems)
            throw new ArgumentException(string.Join("; ", problems), nameof(options));
        (_options, _stack) = (options, stack);
        _parameters = [.. parameters.Select(p => p.Parameter)];
        _momenta = [.. _parameters.Select(p => zeros_like(p).detach().DetachFromDisposeScope())];
        var excluded = _parameters.Select(p => options.ExcludeOneDimensional && p.dim() <= 1).ToArray();
        _weightDecay = [.. excluded.Select(e => e ? 0 : options.WeightDecay)];
        _adapt = [.. excluded.Select(e => !e)];
        State = [.. parameters.Zip(_momenta, (p, m) => ("momentum." + p.Name, m))];
    }

    /// <summary>The optimizer's memory, named after its parameters; loading means overwriting these tensors.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> State { get; }

    /// <summary>One update, in place.</summary>
    /// <param name="gradients">One per parameter, in the order of the constructor's.</param>
    /// <param name="lr">The learning rate of this step.</param>
    public void Step(IReadOnlyList<Tensor> gradients, double lr)
    {
        using var _ = no_grad();
        if (_options.Name == OptimizerName.Lars)
            _stack.LarsStep(_parameters, gradients, _momenta, _weightDecay, _adapt, lr, _options.Momentum, _options.TrustCoefficient);
        else
            _stack.SgdStep(_parameters, gradients, _momenta, _weightDecay, lr, _options.Momentum, _options.Nesterov);
    }

    /// <summary>Frees the momenta.</summary>
    public void Dispose()
    {
        foreach (var momentum in _momenta)
            momentum.Dispose();
    }
}

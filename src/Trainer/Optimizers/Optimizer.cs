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
    private readonly string[] _names;

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
        _names = [.. parameters.Select(p => p.Name)];
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
    /// <param name="updateOf">How each parameter is treated; null: all with <paramref name="lr"/>.</param>
    public void Step(IReadOnlyList<Tensor> gradients, double lr, Func<string, ParameterUpdate>? updateOf = null)
    {
        using var _ = no_grad();
        foreach (var update in _names.Index().GroupBy(p => updateOf?.Invoke(p.Item) ?? ParameterUpdate.Scheduled, p => p.Index))
        {
            if (update.Key == ParameterUpdate.Frozen)
                continue;
            int[] these = [.. update];
            Step(Pick(_parameters, these), Pick(gradients, these), Pick(_momenta, these), Pick(_weightDecay, these), Pick(_adapt, these),
                update.Key == ParameterUpdate.ConstantRate ? _options.LearningRate : lr);
        }
    }

    /// <summary>Frees the momenta.</summary>
    public void Dispose()
    {
        foreach (var momentum in _momenta)
            momentum.Dispose();
    }

    private void Step(Tensor[] parameters, Tensor[] gradients, Tensor[] momenta, double[] weightDecay, bool[] adapt, double lr)
    {
        if (_options.Name == OptimizerName.Lars)
            _stack.LarsStep(parameters, gradients, momenta, weightDecay, adapt, lr, _options.Momentum, _options.TrustCoefficient);
        else
            _stack.SgdStep(parameters, gradients, momenta, weightDecay, lr, _options.Momentum, _options.Nesterov);
    }

    private static T[] Pick<T>(IReadOnlyList<T> all, int[] these) => [.. these.Select(i => all[i])];
}

using DarkMatter.Trainer.Stack;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Optimizers;

/// <summary>
/// SGD, LARS, LARC or AdamW over named parameters. LARS is the variant with the learning rate outside the momentum buffer (the FB and DeepMind
/// codes), weight decay inside the trust ratio; LARC is NVIDIA apex's without clipping, as SwAV uses it.
/// </summary>
public sealed class Optimizer : IDisposable
{
    private readonly OptimizerOptions _options;
    private readonly ITorchStack _stack;
    private readonly Tensor[] _parameters;
    private readonly Tensor[] _momenta;
    private readonly AdamW? _adam;
    private readonly bool[] _decayed;
    private readonly string[] _names;
    private ParameterUpdate[] _updates = [];
    private Group[] _groups = [];

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
        _adam = options.Name == OptimizerName.AdamW ? new AdamW(_parameters, options) : null;
        _decayed = [.. _parameters.Select(p => !(options.ExcludeOneDimensional && p.dim() <= 1))];
        State = [.. _names.Zip(_momenta, (name, m) => ("momentum." + name, m)), .. _adam?.State(_names) ?? []];
    }

    /// <summary>The optimizer's memory, named after its parameters; loading means overwriting these tensors.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> State { get; }

    /// <summary>How many parameters the newest update left where they were.</summary>
    public int Frozen => _updates.Count(update => update == ParameterUpdate.Frozen);

    /// <summary>One update, in place.</summary>
    /// <param name="gradients">One per parameter, in the order of the constructor's.</param>
    /// <param name="lr">The learning rate of this step.</param>
    /// <param name="updateOf">How each parameter is treated; null: all with <paramref name="lr"/>.</param>
    /// <param name="weightDecay">The weight decay of this step; null: that of the options.</param>
    public void Step(IReadOnlyList<Tensor> gradients, double lr, Func<string, ParameterUpdate>? updateOf = null, double? weightDecay = null)
    {
        using var _ = no_grad();
        foreach (var group in Groups(updateOf))
        {
            using var scope = NewDisposeScope();
            var rate = (group.Update == ParameterUpdate.ConstantRate ? _options.LearningRate : lr) * (group.OneDimensional ? _options.OneDimensionalRate : 1);
            double[] decay = [.. group.Decayed.Select(d => d ? weightDecay ?? _options.WeightDecay : 0)];
            Tensor[] g = [.. group.Members.Select(i => _options.Clip > 0 ? Clipped(gradients[i], _options.Clip) : gradients[i])];
            Step(group, g, decay, rate);
        }
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        foreach (var momentum in _momenta)
            momentum.Dispose();
        _adam?.Dispose();
    }

    private void Step(Group group, Tensor[] gradients, double[] decay, double lr)
    {
        switch (_options.Name)
        {
            case OptimizerName.Lars:
                _stack.LarsStep(group.Parameters, gradients, group.Momenta, decay, group.Decayed, lr, _options.Momentum, _options.TrustCoefficient);
                break;
            case OptimizerName.Larc:
                Tensor[] scaled = [.. group.Parameters.Select((p, i) => group.Decayed[i] ? Larc(p, gradients[i], decay[i], _options.TrustCoefficient) : gradients[i])];
                _stack.SgdStep(group.Parameters, scaled, group.Momenta, new double[decay.Length], lr, _options.Momentum, nesterov: false);
                break;
            case OptimizerName.AdamW:
                foreach (var (k, i) in group.Members.Index())
                    _adam!.Step(i, _momenta[i], gradients[k], decay[k], lr);
                break;
            default:
                _stack.SgdStep(group.Parameters, gradients, group.Momenta, decay, lr, _options.Momentum, _options.Nesterov);
                break;
        }
    }

    /// <summary>η ‖p‖ / (‖g‖ + wd ‖p‖ + 1e-8) · (g + wd p); g where a norm is 0.</summary>
    private static Tensor Larc(Tensor p, Tensor gradient, double decay, double trust)
    {
        var (size, slope) = (p.norm().ToDouble(), gradient.norm().ToDouble());
        return size == 0 || slope == 0 ? gradient : gradient.add(p, decay).mul(trust * size / (slope + (decay * size) + 1e-8));
    }

    /// <summary>The gradient, not longer than <paramref name="most"/>.</summary>
    private static Tensor Clipped(Tensor gradient, double most)
    {
        var scale = most / (gradient.norm().ToDouble() + 1e-6);
        return scale < 1 ? gradient.mul(scale) : gradient;
    }

    /// <summary>Parameters that are treated alike; the same arrays as in the step before unless an answer has changed.</summary>
    private Group[] Groups(Func<string, ParameterUpdate>? updateOf)
    {
        ParameterUpdate[] updates = [.. _names.Select(name => updateOf?.Invoke(name) ?? ParameterUpdate.Scheduled)];
        if (_groups.Length > 0 && updates.AsSpan().SequenceEqual(_updates))
            return _groups;
        _updates = updates;
        return _groups = [.. Enumerable.Range(0, _names.Length)
            .GroupBy(i => (Update: updates[i], OneDimensional: _parameters[i].dim() <= 1 && _options.OneDimensionalRate != 1))
            .Where(group => group.Key.Update != ParameterUpdate.Frozen)
            .Select(group => new Group(group.Key.Update, group.Key.OneDimensional, [.. group],
                [.. group.Select(i => _parameters[i])], [.. group.Select(i => _momenta[i])], [.. group.Select(i => _decayed[i])]))];
    }

    private sealed record Group(ParameterUpdate Update, bool OneDimensional, int[] Members, Tensor[] Parameters, Tensor[] Momenta, bool[] Decayed);
}

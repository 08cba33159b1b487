using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Stack;

/// <summary>The optimizer steps of <see cref="ITorchStack"/> in plain operations: the official stack's, and the native kernels' slow twin.</summary>
internal static class PlainOptimizers
{
    internal static void Sgd(
        IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> gradients, IReadOnlyList<Tensor> momenta,
        ReadOnlySpan<double> weightDecay, double lr, double momentum, bool nesterov)
    {
        using var quiet = no_grad();
        for (var i = 0; i < parameters.Count; i++)
        {
            using var scope = NewDisposeScope();
            var gradient = gradients[i].add(parameters[i], weightDecay[i]);
            momenta[i].mul_(momentum).add_(gradient);
            parameters[i].add_(nesterov ? gradient.add(momenta[i], momentum) : momenta[i], -lr);
        }
    }

    internal static void Lars(
        IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> gradients, IReadOnlyList<Tensor> momenta,
        ReadOnlySpan<double> weightDecay, ReadOnlySpan<bool> adapt, double lr, double momentum, double trust)
    {
        using var quiet = no_grad();
        for (var i = 0; i < parameters.Count; i++)
        {
            using var scope = NewDisposeScope();
            var gradient = gradients[i].add(parameters[i], weightDecay[i]);
            var (size, slope) = adapt[i] ? (parameters[i].norm().ToDouble(), gradient.norm().ToDouble()) : (0, 0);
            if (size > 0 && slope > 0) gradient = gradient.mul(trust * size / slope);
            momenta[i].mul_(momentum).add_(gradient);
            parameters[i].add_(momenta[i], -lr);
        }
    }

    /// <summary>Says which tensor of a step does not fit, before anything is changed.</summary>
    internal static void Check(IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> gradients, IReadOnlyList<Tensor> momenta, params ReadOnlySpan<int> lengths)
    {
        var count = parameters.Count;
        if (gradients.Count != count || momenta.Count != count || lengths.ContainsAnyExcept(count))
        {
            throw new ArgumentException(
                $"an optimizer step over {count} parameters got {gradients.Count} gradients, {momenta.Count} momenta and per-parameter settings of lengths {string.Join(", ", lengths.ToArray())}");
        }
        for (var i = 0; i < count; i++)
        {
            if (parameters[i].NumberOfElements == gradients[i].NumberOfElements && parameters[i].NumberOfElements == momenta[i].NumberOfElements) continue;
            throw new ArgumentException(
                $"parameter {i} has {parameters[i].NumberOfElements} elements, its gradient {gradients[i].NumberOfElements}, its momentum {momenta[i].NumberOfElements}");
        }
    }
}

using TorchSharp.Portable;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Stack;

public static partial class TorchStack
{
    private static partial ITorchStack Create() => new PortableTorchStack();
}

/// <summary>The binding of this repository over the system's libtorch, with its native kernels.</summary>
internal sealed class PortableTorchStack : ITorchStack
{
    public string Description => Extras.Description;

    public bool PrefersBFloat16 => Extras.HasBFloat16Arithmetic;

    public void SetThreads(int threads) => set_num_threads(threads);

    public IDisposable Autocast(bool enabled) => Extras.Autocast(enabled);

    public Tensor ToChannelsLast(Tensor x) => Extras.ToChannelsLast(x);

    public Tensor Normalize(Tensor images, ReadOnlySpan<float> mean, ReadOnlySpan<float> deviation) => Kernels.Normalize(images, mean, deviation);

    public Tensor BatchNorm(
        Tensor x, Tensor? weight, Tensor? bias, Tensor? runningMean, Tensor? runningVar,
        double momentum, double eps, bool relu = false, Tensor? residual = null, SumOverRanks? sum = null) =>
        Kernels.CanBatchNorm(x)
            ? Kernels.BatchNorm(x, weight, bias, runningMean, runningVar, momentum, eps, relu, residual, sum is null ? null : new SumDoubles(sum))
            : PlainBatchNorm.Apply(x, weight, bias, runningMean, runningVar, momentum, eps, relu, residual, sum);

    public IDisposable? OnGradientReady(IReadOnlyList<Tensor> parameters, Action<int> ready) => Extras.OnGradientReady(parameters, ready);

    public void SgdStep(
        IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> gradients, IReadOnlyList<Tensor> momenta,
        ReadOnlySpan<double> weightDecay, double lr, double momentum, bool nesterov)
    {
        PlainOptimizers.Check(parameters, gradients, momenta, weightDecay.Length);
        Kernels.Descend(parameters, gradients, momenta, weightDecay, [], trust: 0, lr, momentum, nesterov);
    }

    public void LarsStep(
        IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> gradients, IReadOnlyList<Tensor> momenta,
        ReadOnlySpan<double> weightDecay, ReadOnlySpan<bool> adapt, double lr, double momentum, double trust)
    {
        PlainOptimizers.Check(parameters, gradients, momenta, weightDecay.Length, adapt.Length);
        Kernels.Descend(parameters, gradients, momenta, weightDecay, adapt, trust, lr, momentum, nesterov: false);
    }
}

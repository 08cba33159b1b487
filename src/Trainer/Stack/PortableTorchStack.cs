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

    public Tensor Normalize(Tensor images, ReadOnlySpan<float> mean, ReadOnlySpan<float> deviation) => PlainNormalize.Apply(images, mean, deviation);

    public Tensor BatchNorm(
        Tensor x, Tensor? weight, Tensor? bias, Tensor? runningMean, Tensor? runningVar,
        double momentum, double eps, bool relu = false, Tensor? residual = null, SumOverRanks? sum = null) =>
        PlainBatchNorm.Apply(x, weight, bias, runningMean, runningVar, momentum, eps, relu, residual, sum);

    public IDisposable? OnGradientReady(IReadOnlyList<Tensor> parameters, Action<int> ready) => Extras.OnGradientReady(parameters, ready);

    public void SgdStep(
        IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> gradients, IReadOnlyList<Tensor> momenta,
        ReadOnlySpan<double> weightDecay, double lr, double momentum, bool nesterov)
    {
        PlainOptimizers.Check(parameters, gradients, momenta, weightDecay.Length);
        PlainOptimizers.Sgd(parameters, gradients, momenta, weightDecay, lr, momentum, nesterov);
    }

    public void LarsStep(
        IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> gradients, IReadOnlyList<Tensor> momenta,
        ReadOnlySpan<double> weightDecay, ReadOnlySpan<bool> adapt, double lr, double momentum, double trust)
    {
        PlainOptimizers.Check(parameters, gradients, momenta, weightDecay.Length, adapt.Length);
        PlainOptimizers.Lars(parameters, gradients, momenta, weightDecay, adapt, lr, momentum, trust);
    }
}

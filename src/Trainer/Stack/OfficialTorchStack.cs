using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Stack;

public static partial class TorchStack
{
    private static partial ITorchStack Create() => new OfficialTorchStack();
}

/// <summary>The official TorchSharp: what it lacks is done by plain operations, or not at all where the interface allows that.</summary>
internal sealed class OfficialTorchStack : ITorchStack
{
    public string Description => $"TorchSharp {torch.__version__}, {(cuda.is_available() ? "CUDA" : "CPU")}";

    /// <summary>False: there is no autocast to use it with.</summary>
    public bool PrefersBFloat16 => false;

    public void SetThreads(int threads) => set_num_threads(threads);

    public IDisposable Autocast(bool enabled) => new Nothing();

    public Tensor ToChannelsLast(Tensor x) => x.Dimensions == 4 ? x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) : x.alias();

    public Tensor Normalize(Tensor images, ReadOnlySpan<float> mean, ReadOnlySpan<float> deviation) => PlainNormalize.Apply(images, mean, deviation);

    public Tensor BatchNorm(
        Tensor x, Tensor? weight, Tensor? bias, Tensor? runningMean, Tensor? runningVar,
        double momentum, double eps, bool relu = false, Tensor? residual = null, SumOverRanks? sum = null) =>
        PlainBatchNorm.Apply(x, weight, bias, runningMean, runningVar, momentum, eps, relu, residual, sum);

    public IDisposable? OnGradientReady(IReadOnlyList<Tensor> parameters, Action<int> ready) => null;

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

    private sealed class Nothing : IDisposable
    {
        public void Dispose()
        {
        }
    }
}

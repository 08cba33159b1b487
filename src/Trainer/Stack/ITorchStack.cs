using static TorchSharp.torch;

namespace DarkMatter.Trainer.Stack;

/// <summary>Adds <paramref name="values"/> up over the ranks, in place; every rank makes the same calls in the same order.</summary>
public delegate void SumOverRanks(Span<double> values);

/// <summary>
/// What training wants and the official TorchSharp does not have. <see cref="TorchStack.Current"/> is the one of the chosen stack:
/// the portable one answers with native kernels, the official one with plain operations. Both compute the same.
/// </summary>
public interface ITorchStack
{
    /// <summary>One line for logs and reports: library, version, instruction set.</summary>
    string Description { get; }

    /// <summary>True where bfloat16 is faster than float32: a CPU with AMX or AVX512-BF16, or a CUDA device.</summary>
    bool PrefersBFloat16 { get; }

    /// <summary>Lets one process compute with <paramref name="threads"/> threads, at least 1.</summary>
    void SetThreads(int threads);

    /// <summary>
    /// Until disposed, matrix products and convolutions of this thread run in bfloat16; parameters and what needs range stay float32.
    /// Compute the loss outside, on float32 copies. With <paramref name="enabled"/> false, or where the stack has no autocast, nothing changes.
    /// </summary>
    IDisposable Autocast(bool enabled);

    /// <summary>The same numbers, stored so that the channels of a pixel lie together; [N, C, H, W] in and out, any other rank unchanged.</summary>
    Tensor ToChannelsLast(Tensor x);

    /// <summary>Bytes to a normalised float32 batch: (byte / 255 − mean) / deviation, per channel.</summary>
    /// <param name="images">[N, H, W, C] uint8.</param>
    /// <param name="mean">C values, in units of 1 (not 255).</param>
    /// <param name="deviation">C values, greater than zero.</param>
    /// <returns>[N, C, H, W] float32, channels-last in memory.</returns>
    Tensor Normalize(Tensor images, ReadOnlySpan<float> mean, ReadOnlySpan<float> deviation);

    /// <summary>
    /// Batch normalisation with batch statistics, and what follows it in a residual network, in one pass:
    /// <c>y = relu?(weight · (x − mean) / √(var + eps) + bias [+ residual])</c>. Differentiable in x, weight, bias and residual.
    /// With <paramref name="sum"/> the statistics are those of the union of the ranks' batches, whose sizes may differ (SyncBN):
    /// one sum of 2C + 1 doubles forward, one of 2C backward. Gradients of weight and bias are this rank's share.
    /// </summary>
    /// <param name="x">[N, C] or [N, C, H, W]; bfloat16, float32 or float64. The result has its dtype; keep four-dimensional tensors channels-last.</param>
    /// <param name="weight">[C], or null for 1.</param>
    /// <param name="bias">[C], or null for 0.</param>
    /// <param name="runningMean">[C], updated in place: (1 − momentum) · old + momentum · batch; or null.</param>
    /// <param name="runningVar">[C], updated in place with the unbiased variance; or null.</param>
    /// <param name="momentum">Weight of this batch in the running statistics.</param>
    /// <param name="eps">Added to the variance.</param>
    /// <param name="relu">Whether negative results become zero.</param>
    /// <param name="residual">Same shape as x, or null.</param>
    /// <param name="sum">Null when this process holds the whole batch.</param>
    Tensor BatchNorm(
        Tensor x, Tensor? weight, Tensor? bias, Tensor? runningMean, Tensor? runningVar,
        double momentum, double eps, bool relu = false, Tensor? residual = null, SumOverRanks? sum = null);

    /// <summary>
    /// Calls <paramref name="ready"/> with a parameter's index as soon as backward has accumulated its gradient, on the thread that runs
    /// backward, until the result is disposed. An exception of the callback ends backward and reaches its caller.
    /// </summary>
    /// <returns>Null where the stack cannot tell: then all gradients are ready when backward returns.</returns>
    IDisposable? OnGradientReady(IReadOnlyList<Tensor> parameters, Action<int> ready);

    /// <summary>
    /// Stochastic gradient descent with momentum as torch.optim.SGD, dampening 0: <c>g += wd·p; m = momentum·m + g;
    /// p −= lr·(nesterov ? g + momentum·m : m)</c>, in place. A zero m makes the first step equal to PyTorch's.
    /// </summary>
    /// <param name="parameters">float32 or float64, contiguous.</param>
    /// <param name="gradients">One per parameter, same shape and dtype.</param>
    /// <param name="momenta">One per parameter, same shape and dtype; starts as zeros.</param>
    /// <param name="weightDecay">One per parameter.</param>
    /// <param name="lr">The learning rate.</param>
    /// <param name="momentum">0 to 1.</param>
    /// <param name="nesterov">Whether the gradient is taken one step ahead.</param>
    void SgdStep(
        IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> gradients, IReadOnlyList<Tensor> momenta,
        ReadOnlySpan<double> weightDecay, double lr, double momentum, bool nesterov);

    /// <summary>
    /// LARS with the learning rate outside the momentum buffer (the authors' FB and DeepMind codes): <c>g += wd·p;
    /// g *= adapt ∧ ‖p‖ &gt; 0 ∧ ‖g‖ &gt; 0 ? trust·‖p‖/‖g‖ : 1; m = momentum·m + g; p −= lr·m</c>, in place.
    /// </summary>
    /// <param name="parameters">float32 or float64, contiguous.</param>
    /// <param name="gradients">One per parameter, same shape and dtype.</param>
    /// <param name="momenta">One per parameter, same shape and dtype; starts as zeros.</param>
    /// <param name="weightDecay">One per parameter.</param>
    /// <param name="adapt">Whether the parameter's step is scaled by its trust ratio; false for one-dimensional parameters.</param>
    /// <param name="lr">The learning rate.</param>
    /// <param name="momentum">0 to 1.</param>
    /// <param name="trust">The trust coefficient η.</param>
    void LarsStep(
        IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> gradients, IReadOnlyList<Tensor> momenta,
        ReadOnlySpan<double> weightDecay, ReadOnlySpan<bool> adapt, double lr, double momentum, double trust);
}

/// <summary>The interface's implementation that this build was made with.</summary>
public static partial class TorchStack
{
    /// <summary>The one instance; safe to use from any thread.</summary>
    public static ITorchStack Current { get; } = Create();

    private static partial ITorchStack Create();
}

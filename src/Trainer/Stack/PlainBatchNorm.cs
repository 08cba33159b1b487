using static TorchSharp.torch;

namespace DarkMatter.Trainer.Stack;

/// <summary>
/// <see cref="ITorchStack.BatchNorm"/> in plain operations: what the official stack runs, what the portable one runs for float64, and the
/// slow obvious twin of the native kernels.
/// </summary>
internal sealed class PlainBatchNorm : autograd.SingleTensorFunction<PlainBatchNorm>
{
    private const string SettingsKey = "settings";

    public override string Name => nameof(PlainBatchNorm);

    internal static Tensor Apply(
        Tensor x, Tensor? weight, Tensor? bias, Tensor? runningMean, Tensor? runningVar,
        double momentum, double eps, bool relu, Tensor? residual, SumOverRanks? sum) =>
        apply(x, weight!, bias!, residual!, new Settings(runningMean, runningVar, momentum, eps, relu, sum));

    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (x, weight, bias, residual, settings) = ((Tensor)vars[0], (Tensor?)vars[1], (Tensor?)vars[2], (Tensor?)vars[3], (Settings)vars[4]);
        using var scope = NewDisposeScope();
        var type = x.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var wide = x.to(type);
        var channels = (int)x.shape[1];

        // Sum and sum of squares in double, from the centred values: exact enough to add up over ranks of any sizes.
        var localCount = (double)x.NumberOfElements / channels;
        double[] localMean = [.. Sums(wide).Select(sum => sum / localCount)];
        var centred = wide.sub(PerChannel(localMean, x, type));
        var localSquares = Sums(centred.mul(centred));
        var totals = new double[2 * channels + 1];
        for (var c = 0; c < channels; c++)
        {
            totals[c] = localCount * localMean[c];
            totals[channels + c] = localSquares[c] + localCount * localMean[c] * localMean[c];
        }
        totals[2 * channels] = localCount;
        settings.Sum?.Invoke(totals);
        var count = totals[2 * channels];
        if (count < 2) throw new ArgumentException($"batch normalisation needs more than one value per channel; [{string.Join(", ", x.shape)}] has {count}");

        var mean = new double[channels];
        var variance = new double[channels];
        var scale = new double[channels];
        for (var c = 0; c < channels; c++)
        {
            mean[c] = totals[c] / count;
            variance[c] = Math.Max(0, totals[channels + c] / count - mean[c] * mean[c]);
            scale[c] = 1 / Math.Sqrt(variance[c] + settings.Eps);
        }
        Follow(settings.RunningMean, mean, settings.Momentum);
        Follow(settings.RunningVar, [.. variance.Select(v => v * count / (count - 1))], settings.Momentum);

        var y = wide.sub(PerChannel(mean, x, type)).mul(PerChannel(scale, x, type));
        if (weight is not null) y = y.mul(PerChannel(weight, x, type));
        if (bias is not null) y = y.add(PerChannel(bias, x, type));
        if (residual is not null) y = y.add(residual);
        if (settings.Relu) y = y.relu();
        y = y.to(x.dtype);
        ctx.save_for_backward([x, weight!, y]);
        ctx.save_data(SettingsKey, settings with { Mean = mean, Scale = scale, Count = count, HasBias = bias is not null, HasResidual = residual is not null });
        return y.MoveToOuterDisposeScope();
    }

    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        var settings = (Settings)ctx.get_data(SettingsKey)!;
        using var scope = NewDisposeScope();
        var saved = ctx.get_saved_variables();
        var (x, weight, y) = (saved[0], saved[1], saved[2]);
        var type = x.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var channels = settings.Mean.Length;

        var dy = grad_output.to(type);
        if (settings.Relu) dy = dy.mul(y.gt(0));
        var xhat = x.to(type).sub(PerChannel(settings.Mean, x, type)).mul(PerChannel(settings.Scale, x, type));
        var biasGradient = dy.sum(Others(x), type: ScalarType.Float64);
        var weightGradient = dy.mul(xhat).sum(Others(x), type: ScalarType.Float64);
        double[] totals = [.. Doubles(biasGradient), .. Doubles(weightGradient)];
        settings.Sum?.Invoke(totals);
        for (var i = 0; i < totals.Length; i++) totals[i] /= settings.Count;

        var dx = dy.sub(PerChannel(totals[..channels], x, type)).sub(xhat.mul(PerChannel(totals[channels..], x, type)))
            .mul(PerChannel(settings.Scale, x, type));
        if (weight is not null) dx = dx.mul(PerChannel(weight, x, type));
        return
        [
            dx.to(x.dtype).MoveToOuterDisposeScope(),
            weight is null ? null! : weightGradient.to(weight.dtype).MoveToOuterDisposeScope(),
            settings.HasBias ? biasGradient.to(weight?.dtype ?? type).MoveToOuterDisposeScope() : null!,
            settings.HasResidual ? dy.to(x.dtype).MoveToOuterDisposeScope() : null!,
            null!,
        ];
    }

    /// <summary>All dimensions but the channels'.</summary>
    private static long[] Others(Tensor x) => [.. Enumerable.Range(0, (int)x.Dimensions).Where(d => d != 1).Select(d => (long)d)];

    /// <summary>Per-channel sums in double: float32 sums would depend on how the batch is spread over ranks.</summary>
    private static double[] Sums(Tensor x) => Doubles(x.sum(Others(x), type: ScalarType.Float64));

    private static long[] ChannelShape(Tensor x) => [.. Enumerable.Range(0, (int)x.Dimensions).Select(d => d == 1 ? -1L : 1L)];

    private static Tensor PerChannel(double[] values, Tensor x, ScalarType type) => tensor(values, type, x.device).view(ChannelShape(x));

    private static Tensor PerChannel(Tensor values, Tensor x, ScalarType type) => values.to(type).view(ChannelShape(x));

    private static double[] Doubles(Tensor values) => values.to(ScalarType.Float64).cpu().data<double>().ToArray();

    private static void Follow(Tensor? running, double[] batch, double momentum) =>
        running?.mul_(1 - momentum).add_(tensor(batch, running.dtype, running.device), momentum);

    private sealed record Settings(Tensor? RunningMean, Tensor? RunningVar, double Momentum, double Eps, bool Relu, SumOverRanks? Sum)
    {
        internal double[] Mean { get; init; } = [];
        internal double[] Scale { get; init; } = [];
        internal double Count { get; init; }
        internal bool HasBias { get; init; }
        internal bool HasResidual { get; init; }
    }
}

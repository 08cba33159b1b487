using TorchSharp;
using TorchSharp.Native;
using TorchSharp.Portable;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace DarkMatter.Portable.TorchSharp.Tests;

/// <summary>The native kernels against the plain operations they replace, as each instruction set runs them.</summary>
[Collection(nameof(LifetimeTests))]
public sealed class KernelTests : IDisposable
{
    private readonly DisposeScope scope = NewDisposeScope();

    public void Dispose()
    {
        Shim.LimitVectorLevel(2);
        scope.Dispose();
    }

    [Theory]
    [CombinatorialCases]
    public void BatchNorm_AnyShapeTypeAndInstructionSet_EqualsPlainOperations(int level, int channels, bool image, bool half, bool relu, bool residual)
    {
        Shim.LimitVectorLevel(level);
        manual_seed(channels);
        var shape = image ? new long[] { 5, channels, 7, 3 } : [37, channels];
        var type = half ? bfloat16 : float32;
        Tensor Draw() => Extras.ToChannelsLast(randn(shape).mul(3).add(5)).to(type);
        var (x, added) = (Draw().requires_grad_(), residual ? Draw().sub(5).requires_grad_() : null);
        var (weight, bias) = (rand(channels).add(0.5).requires_grad_(), randn(channels).requires_grad_());
        var (mean, variance) = (zeros(channels), ones(channels));
        var slope = randn(shape);
        var leaves = new[] { x, weight, bias, added }.Where(leaf => leaf is not null).Select(leaf => leaf!).ToArray();

        var y = Kernels.BatchNorm(x, weight, bias, mean, variance, 0.2, 1e-3, relu, added, null);
        (y * slope).sum().backward();
        var gradients = leaves.Select(leaf => leaf.grad!.to(float64)).ToArray();

        // In double, from the same values; ReLU's mask is taken from the kernel's result, which may differ where it is nearly zero.
        var wide = leaves.Select(leaf => leaf.detach().to(float64).requires_grad_()).ToArray();
        var (wideMean, wideVariance) = (zeros(channels, float64), ones(channels, float64));
        var plain = F.batch_norm(wide[0], wideMean, wideVariance, wide[1], wide[2], training: true, momentum: 0.2, eps: 1e-3);
        if (residual) plain = plain + wide[3];
        if (relu) plain = plain * y.gt(0).to(float64);
        (plain * slope).sum().backward();

        var tolerance = half ? 0.02 : 2e-5;
        Near(y, plain, tolerance);
        Near(mean, wideMean, tolerance);
        Near(variance, wideVariance, tolerance);
        for (var i = 0; i < leaves.Length; i++) Near(gradients[i], wide[i].grad!, tolerance);
        y.dtype.ShouldBe(type);
    }

    [Fact]
    public void BatchNorm_FarFromZero_KeepsItsPrecision()
    {
        manual_seed(1);
        var x = randn(4096, 16).add(1000);
        var y = Kernels.BatchNorm(x, null, null, null, null, 0.1, 0, false, null, null);
        var plain = x.to(float64);
        plain = (plain - plain.mean([0], true)) / plain.std(0, unbiased: false, keepdim: true);
        Near(y, plain, 2e-4);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void BatchNorm_OverRanksOfDifferentSizes_EqualsOneRank(bool half)
    {
        manual_seed(4);
        var type = half ? bfloat16 : float32;
        var whole = Extras.ToChannelsLast(randn(7, 5, 4, 4).mul(2).add(3)).to(type);
        var slope = randn(7, 5, 4, 4).to(type);
        var (weight, bias) = (rand(5).add(0.5).requires_grad_(), randn(5).requires_grad_());
        var one = whole.clone().requires_grad_();
        var y = Kernels.BatchNorm(one, weight, bias, null, null, 0.1, 1e-5, true, null, null);
        (y * slope).sum().backward();
        var (weightGradient, biasGradient) = (weight.grad!.clone(), bias.grad!.clone());
        (weight.grad, bias.grad) = (null, null);

        // Two ranks in turns: each sum waits for the other rank's part, so they run on two threads.
        using var ranks = new TwoRanks();
        var parts = new[] { whole.narrow(0, 0, 5), whole.narrow(0, 5, 2) };
        var slopes = new[] { slope.narrow(0, 0, 5), slope.narrow(0, 5, 2) };
        var results = new (Tensor Y, Tensor Dx, Tensor Dw, Tensor Db)[2];
        var threads = Enumerable.Range(0, 2).Select(rank => new Thread(() =>
        {
            var (x, w, b) = (parts[rank].clone().requires_grad_(), weight.detach().clone().requires_grad_(), bias.detach().clone().requires_grad_());
            var part = Kernels.BatchNorm(x, w, b, null, null, 0.1, 1e-5, true, null, values => ranks.Sum(rank, values));
            (part * slopes[rank]).sum().backward();
            results[rank] = (part, x.grad!, w.grad!, b.grad!);
        })).ToArray();
        foreach (var thread in threads) thread.Start();
        foreach (var thread in threads) thread.Join(TimeSpan.FromSeconds(120)).ShouldBeTrue();

        var tolerance = half ? 0.02 : 1e-5;
        Near(cat([results[0].Y, results[1].Y]), y, tolerance);
        Near(cat([results[0].Dx, results[1].Dx]), one.grad!, tolerance);
        Near(results[0].Dw + results[1].Dw, weightGradient, tolerance);
        Near(results[0].Db + results[1].Db, biasGradient, tolerance);
    }

    [Fact]
    public void BatchNorm_OneValuePerChannel_SaysItNeedsMore() =>
        Should.Throw<System.Runtime.InteropServices.ExternalException>(
                () => Kernels.BatchNorm(zeros(1, 3), null, null, null, null, 0.1, 1e-5, false, null, null))
            .Message.ShouldContain("needs more than one value per channel");

    [Theory]
    [InlineData(0, false, false)]
    [InlineData(1, true, false)]
    [InlineData(2, false, true)]
    [InlineData(2, true, true)]
    public void Descend_SeveralSteps_EqualsTheFormula(int level, bool nesterov, bool lars)
    {
        Shim.LimitVectorLevel(level);
        manual_seed(5);
        var (lr, momentum, trust) = (0.1, 0.9, 0.01);
        Tensor[] parameters = [randn(33, 7), randn(19), zeros(4, 4), Extras.ToChannelsLast(randn(4, 3, 3, 3)), randn(5, dtype: float64)];
        var momenta = parameters.Select(parameter => parameter.zeros_like()).ToArray();
        double[] decay = [0.1, 0, 0.1, 0.05, 0.1];
        bool[] adapt = lars ? [true, false, true, true, true] : [];
        var plain = parameters.Select(parameter => parameter.to(float64, copy: true)).ToArray();
        var plainMomenta = plain.Select(parameter => parameter.zeros_like()).ToArray();
        for (var step = 0; step < 3; step++)
        {
            // A gradient need not lie in memory as its parameter does.
            var gradients = parameters.Select(parameter => randn(parameter.shape, parameter.dtype)).ToArray();
            Kernels.Descend(parameters, gradients, momenta, decay, adapt, trust, lr, momentum, nesterov);
            for (var i = 0; i < plain.Length; i++)
            {
                var slope = gradients[i].to(float64) + plain[i] * decay[i];
                var (size, length) = ((double)plain[i].norm(), (double)slope.norm());
                if (lars && adapt[i] && size > 0 && length > 0) slope = slope * (trust * size / length);
                plainMomenta[i] = plainMomenta[i] * momentum + slope;
                plain[i] = plain[i] - (nesterov ? slope + plainMomenta[i] * momentum : plainMomenta[i]) * lr;
            }
        }
        for (var i = 0; i < plain.Length; i++) Near(parameters[i], plain[i], 1e-5);
    }

    [Fact]
    public void Descend_GradientOfAnotherShape_NamesTheParameter()
    {
        Should.Throw<System.Runtime.InteropServices.ExternalException>(
                () => Kernels.Descend([zeros(2), zeros(3)], [zeros(2), zeros(4)], [zeros(2), zeros(3)], [0, 0], [], 0, 0.1, 0.9, false))
            .Message.ShouldContain("parameter 1 of an optimizer step");
    }

    [Theory]
    [InlineData(0, 3)]
    [InlineData(1, 1)]
    [InlineData(2, 3)]
    public void Normalize_Bytes_EqualsTheFormula(int level, int channels)
    {
        Shim.LimitVectorLevel(level);
        manual_seed(6);
        var images = randint(256, [5, 9, 11, channels], ScalarType.Byte);
        float[] mean = [.. new[] { 0.4f, 0.5f, 0.6f }.Take(channels)], deviation = [.. new[] { 0.2f, 0.25f, 0.3f }.Take(channels)];
        var y = Kernels.Normalize(images, mean, deviation);
        var plain = ((images.to(float64) / 255 - tensor(mean)) / tensor(deviation)).permute(0, 3, 1, 2);
        Near(y, plain, 1e-6);
        y.stride().ShouldBe([9 * 11 * channels, 1, 11 * channels, channels]);
        Should.Throw<ArgumentException>(() => Kernels.Normalize(images, [0f], [1f, 1f])).Message.ShouldContain("C means");
    }

    [Fact]
    public void ChannelsLast_KeepsValuesAndShape()
    {
        var x = randn(2, 3, 4, 5);
        var y = Extras.ToChannelsLast(x);
        y.shape.ShouldBe(x.shape);
        y.stride().ShouldBe([60, 1, 15, 3]);
        y.allclose(x).ShouldBeTrue();
    }

    [Fact]
    public void Autocast_OnlyInsideItsScope_ComputesInBFloat16()
    {
        var (a, b) = (randn(3, 3), randn(3, 3));
        using (Extras.Autocast(true))
        {
            a.mm(b).dtype.ShouldBe(bfloat16);
            using (Extras.Autocast(false)) a.mm(b).dtype.ShouldBe(float32);
            a.mm(b).dtype.ShouldBe(bfloat16);
        }
        a.mm(b).dtype.ShouldBe(float32);
    }

    private static void Near(Tensor actual, Tensor expected, double tolerance)
    {
        var (got, wanted) = (actual.detach().to(float64), expected.detach().to(float64));
        got.shape.ShouldBe(wanted.shape);
        var error = (double)(got - wanted).abs().max();
        error.ShouldBeLessThan(tolerance * (1 + (double)wanted.abs().max()));
    }

    /// <summary>Sums what two threads bring; a deadline instead of waiting for ever.</summary>
    private sealed class TwoRanks : IDisposable
    {
        private readonly Barrier barrier = new(2);
        private readonly double[][] parts = new double[2][];

        public void Dispose() => barrier.Dispose();

        internal void Sum(int rank, Span<double> values)
        {
            parts[rank] = values.ToArray();
            Meet();
            for (var i = 0; i < values.Length; i++) values[i] = parts[0][i] + parts[1][i];
            Meet();
        }

        private void Meet() => barrier.SignalAndWait(TimeSpan.FromSeconds(60)).ShouldBeTrue();
    }
}

/// <summary>Instruction set × channels (whole lanes, a rest, both) × rank × dtype × ReLU × residual.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class CombinatorialCasesAttribute : Xunit.v3.DataAttribute
{
    public override ValueTask<IReadOnlyCollection<ITheoryDataRow>> GetData(System.Reflection.MethodInfo testMethod, Xunit.Sdk.DisposalTracker disposalTracker)
    {
        bool[] either = [false, true];
        var rows =
            from level in new[] { 0, 1, 2 }
            from channels in new[] { 3, 16, 37 }
            from image in either
            from half in either
            from relu in either
            from residual in either
            select (ITheoryDataRow)new TheoryDataRow(level, channels, image, half, relu, residual);
        return new([.. rows]);
    }

    public override bool SupportsDiscoveryEnumeration() => true;
}

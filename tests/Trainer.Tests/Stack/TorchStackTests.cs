using DarkMatter.Trainer.Stack;
using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Stack;

/// <summary>What the chosen stack computes is what its plain, slow twin computes.</summary>
public sealed class TorchStackTests : IDisposable
{
    private readonly DisposeScope scope = NewDisposeScope();

    private static ITorchStack Stack => TorchStack.Current;

    public void Dispose() => scope.Dispose();

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void BatchNorm_WithSumOverRanks_EqualsPlainOperations(bool relu, bool residual)
    {
        manual_seed(1);
        var (values, extra, slope) = (randn(6, 5, 3, 3).mul(2).add(1), randn(6, 5, 3, 3), randn(6, 5, 3, 3));
        var results = new[] { ScalarType.Float32, ScalarType.Float64 }.Select(type =>
        {
            manual_seed(2);
            var x = Stack.ToChannelsLast(values).to(type).requires_grad_();
            var added = residual ? Stack.ToChannelsLast(extra).to(type).requires_grad_() : null;
            var (weight, bias) = (rand(5).add(0.5).to(type).requires_grad_(), randn(5).to(type).requires_grad_());
            var (mean, variance) = (zeros(5, type), ones(5, type));
            // As if another rank had brought the very same batch: the statistics stay, the counts double.
            void Twice(Span<double> sums)
            {
                for (var i = 0; i < sums.Length; i++) sums[i] *= 2;
            }

            // In float64 the portable stack runs the plain twin, in float32 its kernels.
            var y = Stack.BatchNorm(x, weight, bias, mean, variance, 0.1, 1e-5, relu, added, Twice);
            (y * slope.to(type)).sum().backward();
            return new[] { y, x.grad!, weight.grad!, bias.grad!, added?.grad ?? y, mean, variance }.Select(tensor => tensor.to(float64)).ToArray();
        }).ToArray();
        for (var i = 0; i < results[0].Length; i++)
        {
            var (kernel, plain) = (results[0][i], results[1][i]);
            ((double)(kernel - plain).abs().max()).ShouldBeLessThan(2e-5 * (1 + (double)plain.abs().max()), $"result {i}");
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void OptimizerStep_SeveralTimes_EqualsPlainOperations(bool lars)
    {
        manual_seed(3);
        Tensor[] parameters = [randn(4, 3), randn(7)];
        Tensor[] plain = [.. parameters.Select(parameter => parameter.clone())];
        Tensor[] momenta = [.. parameters.Select(parameter => parameter.zeros_like())];
        Tensor[] plainMomenta = [.. parameters.Select(parameter => parameter.zeros_like())];
        double[] decay = [0.1, 0];
        bool[] adapt = [true, false];
        for (var step = 0; step < 3; step++)
        {
            Tensor[] gradients = [.. parameters.Select(parameter => parameter.randn_like())];
            if (lars)
            {
                Stack.LarsStep(parameters, gradients, momenta, decay, adapt, lr: 0.1, momentum: 0.9, trust: 0.01);
                PlainOptimizers.Lars(plain, gradients, plainMomenta, decay, adapt, lr: 0.1, momentum: 0.9, trust: 0.01);
            }
            else
            {
                Stack.SgdStep(parameters, gradients, momenta, decay, lr: 0.1, momentum: 0.9, nesterov: true);
                PlainOptimizers.Sgd(plain, gradients, plainMomenta, decay, lr: 0.1, momentum: 0.9, nesterov: true);
            }
        }
        for (var i = 0; i < plain.Length; i++) parameters[i].allclose(plain[i], 1e-5, 1e-6).ShouldBeTrue();
    }

    [Fact]
    public void OptimizerStep_MismatchedLists_SaysWhatItGot()
    {
        var exception = Should.Throw<ArgumentException>(() => Stack.SgdStep([zeros(2)], [zeros(2), zeros(2)], [zeros(2)], [0.0], 0.1, 0.9, nesterov: false));
        exception.Message.ShouldContain("over 1 parameters got 2 gradients");
        Should.Throw<ArgumentException>(() => Stack.SgdStep([zeros(2)], [zeros(3)], [zeros(2)], [0.0], 0.1, 0.9, nesterov: false))
            .Message.ShouldBe("parameter 0 has 2 elements, its gradient 3, its momentum 2");
    }

    [Fact]
    public void Normalize_Bytes_EqualsPlainOperations()
    {
        manual_seed(4);
        var images = randint(256, [3, 5, 7, 3], ScalarType.Byte);
        float[] mean = [0.4f, 0.5f, 0.6f], deviation = [0.2f, 0.3f, 0.25f];
        Stack.Normalize(images, mean, deviation).allclose(PlainNormalize.Apply(images, mean, deviation), 1e-5, 1e-5).ShouldBeTrue();
    }

    [Fact]
    public void GradientReady_OncePerParameter_AndNotAfterItsEnd()
    {
        var leaves = new[] { ones(2, requires_grad: true), ones(3, requires_grad: true) };
        var ready = new List<int>();
        var registration = Stack.OnGradientReady(leaves, ready.Add);
        (leaves[0].sum() * leaves[1].sum()).backward();
        ready.Order().ShouldBe(registration is null ? [] : [0, 1]);
        registration?.Dispose();
        ready.Clear();
        (leaves[0].sum() * leaves[1].sum()).backward();
        ready.ShouldBeEmpty();
    }

    [Fact]
    public void Description_NamesTheLibrary() => Stack.Description.ShouldContain("TorchSharp");
}

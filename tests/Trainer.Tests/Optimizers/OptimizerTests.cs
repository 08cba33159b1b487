using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace DarkMatter.Trainer.Tests.Optimizers;

[Collection(TorchCollection.Name)]
public sealed class OptimizerTests
{
    private static readonly double[] Weight = [0.5, -1.5, 2.0, 0.25, -0.75, 1.0];
    private static readonly double[] Bias = [0.1, -0.2];

    [Theory]
    [InlineData(0.0, false, 0.0)]
    [InlineData(0.9, false, 0.0)]
    [InlineData(0.9, false, 0.01)]
    [InlineData(0.9, true, 0.01)]
    public void Sgd_FiveSteps_EqualsTheRuleWrittenOut(double momentum, bool nesterov, double decay)
    {
        var options = new OptimizerOptions { Momentum = momentum, Nesterov = nesterov, WeightDecay = decay, ExcludeOneDimensional = true };
        var (weight, bias) = Run(options);
        weight.ShouldBe(Twin(Weight, options, decay, trust: null), 1e-12);
        bias.ShouldBe(Twin(Bias, options, decay: 0, trust: null), 1e-12);
    }

    [Fact]
    public void Sgd_WithoutExclusion_DecaysBiasesToo()
    {
        var options = new OptimizerOptions { WeightDecay = 0.1, ExcludeOneDimensional = false };
        Run(options).Bias.ShouldBe(Twin(Bias, options, decay: 0.1, trust: null), 1e-12);
    }

    [Fact]
    public void Lars_FiveSteps_ScalesWeightsByTheTrustRatioAndBiasesNot()
    {
        var options = new OptimizerOptions { Name = OptimizerName.Lars, WeightDecay = 0.01, TrustCoefficient = 0.02, ExcludeOneDimensional = true };
        var (weight, bias) = Run(options);
        weight.ShouldBe(Twin(Weight, options, decay: 0.01, trust: 0.02), 1e-12);
        bias.ShouldBe(Twin(Bias, options, decay: 0, trust: null), 1e-12);
    }

    [Fact]
    public void Lars_ParameterOfZeros_TakesThePlainStep()
    {
        var options = new OptimizerOptions { Name = OptimizerName.Lars, WeightDecay = 0, ExcludeOneDimensional = true };
        var zeros = new double[6];
        Run(options, zeros).Weight.ShouldBe(Twin(zeros, options with { Momentum = 0.9 }, decay: 0, trust: 1e-3), 1e-12);
    }

    [Fact]
    public void Step_FrozenAndConstantParameters_StandStillAndKeepThePeakRate()
    {
        using var scope = NewDisposeScope();
        var options = new OptimizerOptions { LearningRate = 0.5, Momentum = 0, WeightDecay = 0.1, ExcludeOneDimensional = false };
        Parameter[] p = [new(ones(2)), new(ones(2)), new(ones(2))];
        using var optimizer = new Optimizer(options, [("scheduled", p[0]), ("constant", p[1]), ("frozen", p[2])], TorchStack.Current);
        optimizer.Step([ones(2), ones(2), ones(2)], 0.01, name => name switch
        {
            "constant" => ParameterUpdate.ConstantRate,
            "frozen" => ParameterUpdate.Frozen,
            _ => ParameterUpdate.Scheduled,
        });
        float[] expected = [1 - (0.01f * 1.1f), 1 - (0.5f * 1.1f), 1];
        p.Select(t => t[0].item<float>()).ShouldBe(expected, 1e-6);
        optimizer.State[2].Tensor.abs().max().item<float>().ShouldBe(0, "decay of a frozen parameter is not remembered either");
    }

    [Fact]
    public void Step_RateOfBiasesAndClip_ReachBiasesAloneAndLongGradientsAlone()
    {
        using var scope = NewDisposeScope();
        var options = new OptimizerOptions { Momentum = 0, WeightDecay = 0, OneDimensionalRate = 0.25, Clip = 1 };
        Parameter[] p = [new(zeros([1, 4], dtype: ScalarType.Float64)), new(zeros(4, dtype: ScalarType.Float64)), new(zeros([1, 4], dtype: ScalarType.Float64))];
        using var optimizer = new Optimizer(options, [("long", p[0]), ("bias", p[1]), ("short", p[2])], TorchStack.Current);
        var gradient = ones([1, 4], dtype: ScalarType.Float64);                // its norm is 2
        optimizer.Step([3 * gradient, gradient[0], gradient / 10], 0.1);
        p[0][0][0].item<double>().ShouldBe(-0.1 * 0.5, 1e-6);
        p[1][0].item<double>().ShouldBe(-0.1 * 0.25 * 0.5, 1e-6);
        p[2][0][0].item<double>().ShouldBe(-0.1 * 0.1, 1e-12);
    }

    [Fact]
    public void AdamW_ParameterFrozenAtFirst_StartsItsOwnCountLater()
    {
        using var scope = NewDisposeScope();
        var options = new OptimizerOptions { Name = OptimizerName.AdamW, WeightDecay = 0 };
        var p = new Parameter(zeros([1, 2], dtype: ScalarType.Float64));
        using var optimizer = new Optimizer(options, [("p", p)], TorchStack.Current);
        Tensor[] gradient = [full([1, 2], 0.3, dtype: ScalarType.Float64)];
        optimizer.Step(gradient, 0.01, _ => ParameterUpdate.Frozen);
        p.abs().max().item<double>().ShouldBe(0);
        optimizer.Step(gradient, 0.01, _ => ParameterUpdate.Scheduled);
        p[0][0].item<double>().ShouldBe(-0.01, 1e-8, "the first step of Adam is the learning rate long");
    }

    [Fact]
    public void Constructor_SeveralBadOptions_NamesAll()
    {
        var bad = new OptimizerOptions { LearningRate = -1, Momentum = 1, WeightDecay = 2, Warmup = 1, Nesterov = true, Name = OptimizerName.Lars };
        var message = Should.Throw<ArgumentException>(() => new Optimizer(bad, [], TorchStack.Current)).Message;
        foreach (var part in (string[])["optimizer.lr: -1", "optimizer.momentum: 1", "optimizer.weight_decay: 2", "optimizer.warmup: 1", "optimizer.nesterov"])
            message.ShouldContain(part);
    }

    private static (double[] Weight, double[] Bias) Run(OptimizerOptions options, double[]? start = null)
    {
        using var scope = NewDisposeScope();
        var weight = new Parameter(tensor(start ?? Weight, dtype: ScalarType.Float64).view(2, 3));
        var bias = new Parameter(tensor(Bias, dtype: ScalarType.Float64));
        using var optimizer = new Optimizer(options, [("w", weight), ("b", bias)], TorchStack.Current);
        optimizer.State.Select(s => s.Name).ShouldBe(["momentum.w", "momentum.b"]);
        for (var step = 0; step < 5; step++)
            optimizer.Step([tensor(Gradient(6, step)).view(2, 3), tensor(Gradient(2, step))], Rate(step));
        return (weight.detach().flatten().data<double>().ToArray(), bias.detach().data<double>().ToArray());
    }

    /// <summary>g += decay·p; with a trust ratio g *= η·‖p‖/‖g‖; m = momentum·m + g; p −= lr·(nesterov ? g + momentum·m : m).</summary>
    private static double[] Twin(double[] start, OptimizerOptions options, double decay, double? trust)
    {
        var p = (double[])start.Clone();
        var m = new double[p.Length];
        for (var step = 0; step < 5; step++)
        {
            var g = Gradient(p.Length, step).Select((x, i) => x + (decay * p[i])).ToArray();
            var (pNorm, gNorm) = (Math.Sqrt(p.Sum(x => x * x)), Math.Sqrt(g.Sum(x => x * x)));
            var ratio = trust is { } eta && pNorm > 0 && gNorm > 0 ? eta * pNorm / gNorm : 1;
            for (var i = 0; i < p.Length; i++)
            {
                g[i] *= ratio;
                m[i] = (options.Momentum * m[i]) + g[i];
                p[i] -= Rate(step) * (options.Nesterov ? g[i] + (options.Momentum * m[i]) : m[i]);
            }
        }

        return p;
    }

    private static double Rate(int step) => 0.1 / (1 + step);

    private static double[] Gradient(int count, int step) => Enumerable.Range(0, count).Select(i => Math.Sin((7 * step) + i)).ToArray();
}

using System.Diagnostics;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using static TorchSharp.torch;

namespace DarkMatter.Step.Bench;

/// <summary>What one side took for a number of steps, per step.</summary>
internal sealed record Measurement(double WallSeconds, double CpuSeconds, double Loss);

/// <summary>The product's own step: its SimCLR, its optimizer, its stack.</summary>
internal sealed class ProductStep
{
    private static readonly float[] Mean = [0.5f, 0.5f, 0.5f], Deviation = [0.25f, 0.25f, 0.25f];

    private readonly Tensor images;
    private readonly Dictionary<string, (SimClr Method, Optimizer Optimizer)> runs = [];

    internal ProductStep(int views)
    {
        manual_seed(1);
        images = randint(256, [views, 28, 28, 3], ScalarType.Byte);
        foreach (var precision in new[] { "float32", "bfloat16" })
        {
            manual_seed(2);
            var ranks = new SingleRank(generation: 1);
            var method = new SimClr(
                new SimClrOptions { Temperature = 0.2 },
                new MethodSetup(
                    new ResNetOptions { Width = 16, Stem = ResNetStem.Small }, new Normalization(TorchStack.Current, Collective: null),
                    new RankShare(ranks, [views / 2]), [28, 28]))
            {
                Autocast = precision == "bfloat16",
            };
            var parameters = method.Network.named_parameters().Select(pair => (pair.name, pair.parameter)).ToList();
            runs[precision] = (method, new Optimizer(new OptimizerOptions { WeightDecay = 5e-4 }, parameters, TorchStack.Current));
        }
    }

    internal Measurement Run(string precision, int steps)
    {
        var (method, optimizer) = runs[precision];
        var parameters = method.Network.parameters().ToArray();
        var (watch, before, loss) = (Stopwatch.StartNew(), Environment.CpuUsage.TotalTime, 0f);
        for (var i = 0; i < steps; i++)
        {
            using var scope = NewDisposeScope();
            foreach (var parameter in parameters) parameter.grad = null;
            var value = method.Loss(TorchStack.Current.Normalize(images, Mean, Deviation)).Value;
            value.backward();
            optimizer.Step([.. parameters.Select(parameter => parameter.grad!)], lr: 0.03);
            loss = value.item<float>();
        }
        return new(watch.Elapsed.TotalSeconds / steps, (Environment.CpuUsage.TotalTime - before).TotalSeconds / steps, loss);
    }
}

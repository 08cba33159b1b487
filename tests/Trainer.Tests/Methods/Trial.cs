using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

/// <summary>
/// Trains a method for some steps on images of waves, one rank, float32, always the same way, and says what its embeddings of other images are worth.
/// </summary>
internal static class Trial
{
    private const int Images = 32, Size = 16, Dataset = 512, LookEvery = 5, Settled = 30;

    /// <summary>What a trial came to.</summary>
    /// <param name="Spread">√D times the mean standard deviation of the unit embeddings' dimensions: near 1 when healthy, 0 in a point.</param>
    /// <param name="Found">The part of images whose other view is nearest among all other views; 1/32 by chance.</param>
    /// <param name="Losses">Of every step; it ends at the first that is not a number.</param>
    /// <param name="Looks">What the collapse watch said, every five steps.</param>
    /// <param name="Acts">How often it would have acted on a collapse.</param>
    internal sealed record Outcome(double Spread, double Found, IReadOnlyList<double> Losses, IReadOnlyList<CollapseReport> Looks, int Acts)
    {
        internal bool Finite => double.IsFinite(Losses[^1]);

        internal string Verdict => Looks[^1].Verdict;

        public override string ToString() => FormattableString.Invariant($"spread {Spread:f3}, found {Found:f3}, loss {Losses[0]:f3} → {Losses[^1]:f3} after {Losses.Count} steps, {Acts} acts; {string.Join(" | ", Looks.Select(l => l.Verdict.Split(" (")[0]))}");
    }

    internal static Outcome Run(MethodOptions options, double lr, int steps, double noise = 0.8)
    {
        using var scope = NewDisposeScope();
        var share = new RankShare(new SingleRank(1), [Images]);
        share.Show([.. Enumerable.Range(0, Images).Select(i => (long)i)]);
        using var method = SmallMethods.Create(options, [Size, Size], share, ScalarType.Float32);
        var named = method.Network.named_parameters().Where(p => p.parameter.requires_grad).ToList();
        foreach (var (_, parameter) in named)
            parameter.grad = zeros_like(parameter);
        using var optimizer = new Optimizer(new OptimizerOptions { LearningRate = lr, WeightDecay = 1e-4 }, named, TorchStack.Current);
        var (losses, looks, acts) = (new List<double>(), new List<CollapseReport>(), 0);
        var history = new LookHistory(new WatchOptions { OnCollapse = CollapseAction.Stop }, options.Plateaus(Images));
        for (var step = 0; step < steps; step++)
        {
            using var inner = NewDisposeScope();
            using (no_grad())
                named.ForEach(p => p.parameter.grad!.zero_());
            var (loss, embeddings) = method.Loss(Views(step, noise));
            losses.Add(loss.item<float>());
            if (!double.IsFinite(losses[^1]))
                return new Outcome(double.NaN, double.NaN, losses, looks, acts);
            loss.backward();
            optimizer.Step([.. named.Select(p => p.parameter.grad!)], lr, parameter => method.UpdateOf(parameter, step));
            method.AfterUpdate(step + 1, steps);
            if ((step + 1) % LookEvery != 0)
                continue;
            var (unit, size) = EmbeddingDiagnostics.Directions(embeddings, options.Radius);
            var look = CollapseWatch.Look(unit.narrow(0, 0, Images), unit.narrow(0, Images, Images), size);
            looks.Add(history.Judge(look with { Loss = losses.TakeLast(LookEvery).Average() }, settled: optimizer.Frozen == 0 && step >= Settled));
            acts += history.MustAct ? 1 : 0;
        }

        using var _ = no_grad();
        var (z, length) = EmbeddingDiagnostics.Directions(method.Loss(Views(Dataset, noise)).Embeddings, options.Radius);    // [2n, D]
        var (first, second) = (z.narrow(0, 0, Images), z.narrow(0, Images, Images));
        var nearest = first.matmul(second.t()).argmax(1).eq(arange(Images)).to(ScalarType.Float32).mean().item<float>();
        return new Outcome(first.std(0).mean().item<float>() * Math.Sqrt(z.shape[1]) * length, nearest, losses, looks, acts);
    }

    /// <summary>Waves whose direction, phase and colours are the image's, with a gain and noise that are the view's. A batch comes again after 16 steps.</summary>
    private static Tensor Views(int step, double noise)
    {
        var all = new float[2 * Images * 3 * Size * Size];
        var at = 0;
        for (var view = 0; view < 2; view++)
        {
            for (var i = 0; i < Images; i++)
            {
                var image = step < Dataset ? ((step * Images) + i) % Dataset : Dataset + i;
                var (own, random) = (new Random(image), new Random((1000 * step) + (1_000_000 * view) + i));
                var (x, y, phase, colour) = ((own.NextDouble() * 2) - 1, (own.NextDouble() * 2) - 1, own.NextDouble() * 6.3, own.NextDouble() * 3);
                var gain = 0.6 + (0.8 * random.NextDouble());
                for (var c = 0; c < 3; c++)
                {
                    for (var p = 0; p < Size * Size; p++)
                        all[at++] = (float)((gain * Math.Sin((x * (p % Size)) + (y * (p / Size)) + phase + (c * colour))) + (noise * (random.NextDouble() - 0.5)));
                }
            }
        }

        return tensor(all).view(2 * Images, 3, Size, Size);
    }
}

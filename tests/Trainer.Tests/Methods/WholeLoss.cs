using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

/// <summary>
/// A method's loss from images on, against the paper's formula: the test itself calls the method's networks on the views and writes down what the paper
/// makes of their outputs. How <see cref="IMethod.Loss(Tensor)"/> puts its parts together is then the test's to get right as well, not only the parts.
/// </summary>
internal static class WholeLoss
{
    /// <summary>A large step takes some ReLU to its other side, a small one drowns a flat loss in rounding: one of them must agree. A wrong gradient agrees at none.</summary>
    private static readonly double[] Steps = [1e-6, 1e-7, 1e-8, 1e-9];

    /// <summary>
    /// Trains a setting for some updates; then value and gradient of its loss must be those of <paramref name="loss"/>. The gradient is compared with the
    /// slope of <paramref name="loss"/> along random directions of the parameters, while what gradients must not reach stays as it was.
    /// </summary>
    /// <param name="setting">One of <see cref="SmallMethods.All"/>.</param>
    /// <param name="updates">Enough that averages and memories differ from what they started as.</param>
    /// <param name="held">What the paper stops the gradient at: targets, keys, codes, memories. Asked for once, after the method's own loss.</param>
    /// <param name="loss">The paper's loss of the global batch.</param>
    internal static void ShouldBe<T>(string setting, int updates, Func<Networks, T> held, Func<Networks, T, double> loss) =>
        SmallMethods.Train(setting, new SingleRank(1), [SmallMethods.Images], ScalarType.Float64, updates, method =>
        {
            var views = SmallMethods.Views(setting, 0, [SmallMethods.Images], ScalarType.Float64, updates);
            var networks = new Networks(method, views, updates);
            var trained = method.Network.named_parameters().Where(p => p.parameter.requires_grad).ToList();
            var value = method.Loss(views).Value;
            var gradients = autograd.grad([value], [.. trained.Select(p => (Tensor)p.parameter)], allow_unused: true);
            var fixedParts = held(networks);
            var expected = loss(networks, fixedParts);
            value.item<double>().ShouldBe(expected, 1e-10 * Math.Max(1, Math.Abs(expected)), "the loss");

            using var _ = no_grad();
            (string Of, Predicate<string> Moves)[] parts =
                [("everything", _ => true), ("the first layer", name => name == "backbone.conv1.weight"), ("the heads", name => !name.StartsWith("backbone.", StringComparison.Ordinal))];
            foreach (var (seed, (of, moves)) in parts.Index())
            {
                var random = new Random(seed);
                (Tensor At, Tensor Start, Tensor Direction, Tensor Gradient)[] moved = [.. trained.Zip(gradients).Where(p => moves(p.First.name) && p.Second is not null).Select(p =>
                {
                    double[] direction = [.. Enumerable.Range(0, (int)p.First.parameter.numel()).Select(_ => (random.NextDouble() * 2) - 1)];
                    return ((Tensor)p.First.parameter, p.First.parameter.clone(), tensor(direction).view(p.First.parameter.shape), p.Second);
                })];
                double At(double by)
                {
                    foreach (var p in moved)
                        p.At.copy_(p.Start + (by * p.Direction));
                    return loss(networks, fixedParts);
                }

                var slope = moved.Sum(p => (p.Gradient * p.Direction).sum().item<double>());
                var length = Math.Sqrt(moved.Sum(p => p.Gradient.square().sum().item<double>()));
                length.ShouldBeGreaterThan(1e-6, $"{of} has a gradient");
                double[] differences = [.. Steps.Select(h => (At(h) - At(-h)) / (2 * h))];
                At(0);
                differences.ShouldContain(d => Math.Abs(slope - d) < 1e-5 * length, $"gradient of {of}: {slope} of a length of {length}, by differences {string.Join(", ", differences)}");
            }
        }, SmallMethods.GentleRate(setting));
}

/// <summary>The networks of a method and a step's views, for tests that call them by themselves; nothing here has a gradient.</summary>
/// <param name="method">The method.</param>
/// <param name="views">One tensor for each size.</param>
/// <param name="updates">Updates applied so far.</param>
internal sealed class Networks(IMethod method, IReadOnlyList<Tensor> views, long updates)
{
    /// <summary>N.</summary>
    internal const int Images = SmallMethods.Images;

    internal IMethod Method => method;

    internal long Updates => updates;

    /// <summary>One view of every image: [N, 3, H, W].</summary>
    internal Tensor View(int view)
    {
        foreach (var size in views)
        {
            var count = (int)size.shape[0] / Images;
            if (view < count)
                return size.narrow(0, view * Images, Images);
            view -= count;
        }

        throw new ArgumentOutOfRangeException(nameof(view));
    }

    /// <summary>The first two views, one below the other: [2N, 3, H, W].</summary>
    internal Tensor BothViews() => cat([View(0), View(1)]);

    /// <summary>The features of all views, views of one size through the backbone together: multi-crop. [V·N, F].</summary>
    internal Tensor Features() => cat([.. views.Select(size => Through(size, "backbone"))]);

    /// <summary>x through the parts of these names, one after the other.</summary>
    internal Tensor Through(Tensor x, params string[] parts)
    {
        using var _ = no_grad();
        foreach (var part in parts)
            x = ((nn.Module<Tensor, Tensor>)method.Network.named_children().Single(child => child.name == part).module).call(x);
        return x;
    }

    /// <summary>The same as arrays.</summary>
    internal double[][] Rows(Tensor x, params string[] parts) => Methods.Rows.Of(Through(x, parts));

    /// <summary>The same, every row with length 1.</summary>
    internal double[][] Unit(Tensor x, params string[] parts) => Methods.Rows.Unit(Rows(x, parts));

    /// <summary>A parameter or buffer.</summary>
    internal Tensor Kept(string name) => method.Network.get_buffer(name) ?? method.Network.get_parameter(name) ?? throw new ArgumentException($"no {name}", nameof(name));
}

using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>
/// Minimises a smooth convex function: limited-memory BFGS with a backtracking line search. Source: Nocedal and Wright, Numerical Optimization,
/// algorithms 7.4 and 3.1.
/// </summary>
internal static class Lbfgs
{
    private const int Memory = 12, MostIterations = 500, MostHalvings = 40;
    private const double Decrease = 1e-4;

    /// <summary>The minimum's place.</summary>
    /// <param name="objective">Value and gradient at a place, both float64.</param>
    /// <param name="start">[d]; where the search begins.</param>
    /// <param name="settled">It ends where no element of the gradient is larger.</param>
    /// <param name="cancellationToken">Ends it between two iterations.</param>
    internal static Tensor Minimize(Func<Tensor, (double Value, Tensor Gradient)> objective, Tensor start, double settled, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();
        var pairs = new Queue<(Tensor S, Tensor Y, double Rho)>();
        var x = start.clone();
        var (value, gradient) = objective(x);
        for (var i = 0; i < MostIterations && gradient.abs().max().item<double>() > settled; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var inner = NewDisposeScope();
            var direction = -Curved(gradient, pairs);
            var slope = Dot(gradient, direction);
            // The first step has no curvature to go by.
            var length = pairs.Count > 0 ? 1.0 : Math.Min(1, 1 / gradient.norm().item<double>());
            var moved = Step(out var next);
            for (var halved = 0; !(next.Value <= value + (Decrease * length * slope)); halved++)
            {
                if (halved == MostHalvings)
                    return x.MoveToOuterDisposeScope();                       // rounding: no lower place can be told from this one
                length /= 2;
                moved = Step(out next);
            }

            var (s, y) = (moved - x, next.Gradient - gradient);
            if (Dot(s, y) is > 1e-300 and var product)
            {
                pairs.Enqueue((s.MoveToOuterDisposeScope(), y.MoveToOuterDisposeScope(), 1 / product));
                if (pairs.Count > Memory)
                    pairs.Dequeue();
            }

            (x, value, gradient) = (moved.MoveToOuterDisposeScope(), next.Value, next.Gradient.MoveToOuterDisposeScope());

            Tensor Step(out (double Value, Tensor Gradient) there)
            {
                var place = x + (direction * length);
                there = objective(place);
                return place;
            }
        }

        return x.MoveToOuterDisposeScope();
    }

    /// <summary>The gradient times the inverse curvature that the last steps have shown.</summary>
    private static Tensor Curved(Tensor gradient, Queue<(Tensor S, Tensor Y, double Rho)> pairs)
    {
        var q = gradient.clone();
        var alphas = new Stack<double>();
        foreach (var (s, y, rho) in pairs.Reverse())
        {
            alphas.Push(rho * Dot(s, q));
            q -= y * alphas.Peek();
        }

        if (pairs.Count > 0)
            q *= 1 / (pairs.Last().Rho * Dot(pairs.Last().Y, pairs.Last().Y));
        foreach (var (s, y, rho) in pairs)
            q += s * (alphas.Pop() - (rho * Dot(y, q)));
        return q;
    }

    private static double Dot(Tensor a, Tensor b) => (a * b).sum().item<double>();
}

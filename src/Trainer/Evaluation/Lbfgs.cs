using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>
/// What <see cref="Lbfgs"/> minimises: a smooth function that is strongly convex, with what is known of its curvature. Places and gradients are [d] float64.
/// </summary>
internal interface IConvexObjective
{
    /// <summary>Value and gradient at a place.</summary>
    (double Value, Tensor Gradient) At(Tensor place);

    /// <summary>The most by which the value at a place of this gradient can lie above the least one.</summary>
    double Excess(Tensor gradient);

    /// <summary>A gradient times the inverse of what stands for the second derivatives, symmetric and positive: a bound of them, or themselves nearby.</summary>
    Tensor Preconditioned(Tensor gradient);
}

/// <summary>Where a search ended.</summary>
/// <param name="Place">The lowest place found.</param>
/// <param name="Value">There.</param>
/// <param name="Excess">The most by which <paramref name="Value"/> can lie above the least one: proven, not estimated.</param>
/// <param name="Iterations">Steps taken.</param>
internal sealed record Minimum(Tensor Place, double Value, double Excess, int Iterations);

/// <summary>
/// Minimises a convex function: limited-memory BFGS with a backtracking line search, begun with the objective's own word of its curvature.
/// Source: Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 3.1, formula 7.20 in that metric.
/// </summary>
internal static class Lbfgs
{
    /// <summary>Steps after which a search ends where it is.</summary>
    public const int MostIterations = 2000;

    /// <summary>Steps in a row that bring nothing, after which rounding is all that is left.</summary>
    public const int MostIdle = 20;

    private const int Memory = 30, MostHalvings = 30;
    private const double Decrease = 1e-4;

    /// <summary>Values of which one is larger by a smaller part may be equal.</summary>
    private const double Rounding = 1e-14;

    /// <summary>A step whose s · y is a smaller part of ‖s‖ ‖y‖ tells of rounding, not of curvature.</summary>
    private const double LeastCosine = 1e-10;

    /// <summary>The minimum, or where the most steps or rounding ended the search: <see cref="Minimum.Excess"/> says which.</summary>
    /// <param name="objective">The function.</param>
    /// <param name="start">[d]; where the search begins.</param>
    /// <param name="tolerance">It ends where the excess is at most this part of the value.</param>
    /// <param name="iterated">Told the number of steps after each.</param>
    /// <param name="cancellationToken">Ends it between two steps.</param>
    /// <param name="most">The most steps.</param>
    internal static Minimum Minimize(
        IConvexObjective objective, Tensor start, double tolerance, Action<int>? iterated, CancellationToken cancellationToken, int most = MostIterations)
    {
        using var scope = NewDisposeScope();
        var pairs = new Queue<Pair>();
        var x = start.clone();
        var (value, gradient) = objective.At(x);
        var excess = objective.Excess(gradient);
        var (steps, idle, least) = (0, 0, excess);
        while (steps < most && idle < MostIdle && !(excess <= tolerance * value))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var inner = NewDisposeScope();
            var direction = -Curved(gradient, pairs, objective);
            if (Descend(objective, x, value, direction, Dot(gradient, direction)) is not { } next)
                break;                                                        // rounding: no lower place can be told from this one
            var lower = value - next.Value > Rounding * Math.Abs(value);
            Remember(pairs, next.Place - x, next.Gradient - gradient, objective);
            x.Dispose();
            gradient.Dispose();
            (x, value, gradient) = (next.Place.MoveToOuterDisposeScope(), next.Value, next.Gradient.MoveToOuterDisposeScope());
            excess = objective.Excess(gradient);
            idle = lower || excess < least ? 0 : idle + 1;
            least = Math.Min(least, excess);
            steps++;
            iterated?.Invoke(steps);
        }

        return new Minimum(x.MoveToOuterDisposeScope(), value, excess, steps);
    }

    /// <summary>
    /// The first place on the way, halving its length, that is lower by a fair part of what the slope promises; where rounding hides that, the slope
    /// there tells the same of a parabola (Hager and Zhang 2005, A new conjugate gradient method, formula 4.1).
    /// </summary>
    private static (Tensor Place, double Value, Tensor Gradient)? Descend(
        IConvexObjective objective, Tensor x, double value, Tensor direction, double slope)
    {
        var length = 1.0;
        for (var halved = 0; halved <= MostHalvings; halved++, length /= 2)
        {
            var place = x + (direction * length);
            var (there, gradient) = objective.At(place);
            var lower = there < value && there <= value + (Decrease * length * slope);
            if (lower || (there <= value + (Rounding * Math.Abs(value)) && Dot(gradient, direction) <= ((2 * Decrease) - 1) * slope))
                return (place, there, gradient);
            place.Dispose();
            gradient.Dispose();
        }

        return null;
    }

    private static void Remember(Queue<Pair> pairs, Tensor s, Tensor y, IConvexObjective objective)
    {
        var product = Dot(s, y);
        if (!(product > LeastCosine * Math.Sqrt(Dot(s, s)) * Math.Sqrt(Dot(y, y))))
            return;
        pairs.Enqueue(new Pair(s.MoveToOuterDisposeScope(), y.MoveToOuterDisposeScope(), 1 / product, product / Dot(y, objective.Preconditioned(y))));
        if (pairs.Count > Memory)
            pairs.Dequeue().Dispose();
    }

    /// <summary>The gradient times the inverse curvature that the objective and the last steps have shown.</summary>
    private static Tensor Curved(Tensor gradient, Queue<Pair> pairs, IConvexObjective objective)
    {
        var q = gradient.clone();
        var alphas = new Stack<double>();
        foreach (var pair in pairs.Reverse())
        {
            alphas.Push(pair.Rho * Dot(pair.S, q));
            q.add_(pair.Y, -alphas.Peek());
        }

        q = objective.Preconditioned(q);
        if (pairs.Count > 0)
            q.mul_(pairs.Last().Scale);
        foreach (var pair in pairs)
            q.add_(pair.S, alphas.Pop() - (pair.Rho * Dot(pair.Y, q)));
        return q;
    }

    private static double Dot(Tensor a, Tensor b)
    {
        using var product = a.dot(b);
        return product.item<double>();
    }

    /// <summary>A step, the gradient's change over it, 1 / s · y, and how much flatter the function was along it than the objective said.</summary>
    private sealed record Pair(Tensor S, Tensor Y, double Rho, double Scale) : IDisposable
    {
        public void Dispose()
        {
            S.Dispose();
            Y.Dispose();
        }
    }
}

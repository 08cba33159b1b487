using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Certificates;

/// <summary>How far a world is from one rank, for one setting of a method.</summary>
/// <param name="Method">The setting's name.</param>
/// <param name="Precision">What was computed in.</param>
/// <param name="World">W.</param>
/// <param name="Loss">Error of the loss of an update.</param>
/// <param name="Gradient">Largest error of a parameter's gradient in an update, and whose.</param>
/// <param name="State">Largest error of a tensor of the state after the last update, and which.</param>
/// <param name="Tolerance">What passes.</param>
public sealed record CertificateRow(
    string Method, Precision Precision, int World, Deviation Loss, Deviation Gradient, Deviation State, double Tolerance)
{
    /// <summary>Whether all errors are within tolerance.</summary>
    public bool Passed => !Failures.Any();

    /// <summary>What is beyond tolerance, one sentence each: method, world, precision, tensor.</summary>
    public IEnumerable<string> Failures =>
        from found in ((string What, Deviation Error)[])[("the loss", Loss), ("the gradient", Gradient), ("the state", State)]
        where !(found.Error.Relative <= Tolerance)
        select FormattableString.Invariant($"{Method}: with {World} ranks in {Precision.ToString().ToLowerInvariant()}, {found.What} of {found.Error.Where} is {found.Error.Relative:0.0e+0} from one rank's (relative; at most {Tolerance:0e+0} passes)");
}

/// <summary>A relative error and where it is.</summary>
public sealed record Deviation(double Relative, string Where);

/// <summary>
/// Invariant 7 as a measurement: W ranks on a global batch compute the loss, every parameter's gradient and, update by update, the state that one
/// rank computes.
/// </summary>
/// <remarks>
/// The error of a tensor is ‖a − b‖ / max(‖b‖, ‖B‖/100): a of W ranks, b of one rank, B the tensor of the largest norm among those of its kind
/// (gradients, networks, momenta). Without the floor a gradient that is 0 but for rounding (a bias before a normalisation) would be compared with
/// that rounding. Whole numbers (counters) must be equal. The error of a loss is |a − b| / max(|b|, 1).
/// <para>
/// In float64 every update counts, at a usual learning rate. In float32 the median update does: of a hundred thousand activations one lies so near 0,
/// now and then, that rounding moves it to the other side, where ReLU's slope, and with it the gradient, is another. So that this stays with that
/// update, the learning rate is next to nothing there, and momenta, which remember gradients, are compared in float64 alone. A wrong factor is wrong
/// in every update.
/// </para>
/// </remarks>
public static class Certificate
{
    private const double Floor = 0.01;

    /// <summary>Certifies a setting: every precision with every world.</summary>
    /// <param name="certified">The setting.</param>
    /// <param name="options">Worlds, precisions, steps.</param>
    /// <param name="found">Told of each row as it is measured.</param>
    /// <exception cref="ArgumentException">The options have problems; all are named.</exception>
    /// <exception cref="AggregateException">A rank failed.</exception>
    public static async Task<IReadOnlyList<CertificateRow>> MeasureAsync(CertificateCase certified, CertificateOptions options, Action<CertificateRow>? found = null)
    {
        if (options.Problems().ToList() is { Count: > 0 } problems)
            throw new ArgumentException(string.Join("; ", problems), nameof(options));
        var rows = new List<CertificateRow>();
        foreach (var precision in options.Precisions)
        {
            var one = await CertificateRun.TrainAsync(certified, precision, world: 1, options.Steps);
            foreach (var world in options.Worlds)
            {
                var many = await CertificateRun.TrainAsync(certified, precision, world, options.Steps);
                rows.Add(Compare(certified.Name, precision, world, many, one));
                found?.Invoke(rows[^1]);
            }
        }

        return rows;
    }

    private static CertificateRow Compare(string method, Precision precision, int world, CertificateOutcome many, CertificateOutcome one)
    {
        var exact = precision == Precision.Float64;
        var losses = many.Losses.Zip(one.Losses).Select((pair, step) =>
            new Deviation(Math.Abs(pair.First - pair.Second) / Math.Max(1, Math.Abs(pair.Second)), $"step {step + 1}")).ToList();
        var gradients = many.Gradients.Zip(one.Gradients).Select(pair => Largest(Deviations(pair.First, pair.Second))).ToList();
        var state = Deviations(many.State, Part(momentum: false)).Concat(exact ? Deviations(many.State, Part(momentum: true)) : []);
        return new CertificateRow(
            method, precision, world, exact ? Largest(losses) : Median(losses), exact ? Largest(gradients) : Median(gradients), Largest(state),
            CertificateOptions.Tolerance(precision));

        Dictionary<string, double[]> Part(bool momentum) =>
            one.State.Where(t => t.Key.StartsWith("momentum.", StringComparison.Ordinal) == momentum).ToDictionary();
    }

    private static IEnumerable<Deviation> Deviations(IReadOnlyDictionary<string, double[]> many, IReadOnlyDictionary<string, double[]> one)
    {
        var largest = one.Where(t => !IsCounter(t.Value)).Max(t => Norm(t.Value));
        return one.Select(t => new Deviation(Error(many[t.Key], t.Value, Floor * largest), t.Key));
    }

    private static double Error(double[] a, double[] b, double floor)
    {
        if (IsCounter(b))
            return a[0] == b[0] ? 0 : 1;
        var difference = Norm(a.Zip(b, (x, y) => x - y));
        return difference == 0 ? 0 : difference / Math.Max(Norm(b), floor);   // all may be 0: an epoch that updates nothing
    }

    /// <summary>A single whole number: how many batches or updates there were.</summary>
    private static bool IsCounter(double[] values) => values is [var only] && only == Math.Floor(only);

    private static Deviation Largest(IEnumerable<Deviation> deviations) => Ordered(deviations).Last();

    private static Deviation Median(List<Deviation> deviations) => Ordered(deviations).ElementAt(deviations.Count / 2);

    /// <summary>A number that is none counts as the largest.</summary>
    private static IOrderedEnumerable<Deviation> Ordered(IEnumerable<Deviation> deviations) =>
        deviations.OrderBy(d => double.IsNaN(d.Relative) ? double.PositiveInfinity : d.Relative);

    private static double Norm(IEnumerable<double> values) => Math.Sqrt(values.Sum(v => v * v));
}

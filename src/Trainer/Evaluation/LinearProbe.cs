using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>What a linear classifier reached on frozen features.</summary>
/// <param name="Accuracy">On the test images, looked at once: 0 to 1.</param>
/// <param name="HeldOutAccuracy">Of the chosen decay, on the held-out training images.</param>
/// <param name="Decay">The weight decay that was chosen.</param>
/// <param name="Excess">The part of the objective by which it can still lie above the least one; above <see cref="LinearProbe.Settled"/> where the search was ended early.</param>
public sealed record LinearResult(double Accuracy, double HeldOutAccuracy, double Decay, double Excess);

/// <summary>How far a linear evaluation is.</summary>
/// <param name="Fit">Number of the classifier that is being fitted, from 1.</param>
/// <param name="Fits">The most there will be; the last one is that on all training images.</param>
/// <param name="Decay">Its λ.</param>
/// <param name="Iteration">Steps taken in this fit.</param>
public sealed record LinearProgress(int Fit, int Fits, double Decay, int Iteration);

/// <summary>A linear classifier on standardised features: class = argmax of W · (x − mean) / deviation + b.</summary>
/// <param name="Weights">[classes, F + 1] float64; the last column is b.</param>
/// <param name="Mean">[F].</param>
/// <param name="Deviation">[F].</param>
/// <param name="Objective">The value that was minimised, here.</param>
/// <param name="Excess">The most by which it can lie above the least value.</param>
public sealed record LinearModel(Tensor Weights, Tensor Mean, Tensor Deviation, double Objective, double Excess);

/// <summary>
/// Linear evaluation (Zhang et al. 2016 and all since): multinomial logistic regression on the features of a frozen backbone. The weight decay is
/// chosen on a sixth of the training images that the classifier has not seen; then it is fitted to all of them, and the test images are looked at once.
/// </summary>
/// <remarks>
/// <para>The objective, mean cross-entropy + λ/2 ‖W‖² + 1e-6/2 ‖b‖², is strongly convex, so it has one minimum and every search ends with a proof of how
/// near that is: candidates are compared when they are within a thousandth of their least objective, the last fit ends within a millionth.</para>
/// <para>Memory beside the features, in float64: blocks of 4 MiB, about 6 F² numbers for the curvature's bound (F up to 4,096), 70 places of
/// classes · (F + 1) numbers, and two squares of that length where it is at most <see cref="LogisticRegression.MostUnknowns"/>. No copy of the features is made.</para>
/// </remarks>
public static class LinearProbe
{
    /// <summary>λ, the candidates, the strongest first: each fit begins where the one before ended.</summary>
    public static IReadOnlyList<double> Decays { get; } = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];

    private const int HoldOutEvery = 6;
    private const double Comparable = 1e-3;

    /// <summary>The last fit's objective is proven to be within this part of its least value.</summary>
    public const double Settled = 1e-6;

    /// <summary>After this many in a row that were no better, weaker decays are not tried.</summary>
    private const int Patience = 2;

    /// <summary>Chooses λ, fits, and tells how much of the test images is classified rightly.</summary>
    /// <param name="features">[n, F] of the training images, n at least <see cref="HoldOutEvery"/>.</param>
    /// <param name="labels">n classes, 0 and above.</param>
    /// <param name="testFeatures">[m, F].</param>
    /// <param name="testLabels">m classes.</param>
    /// <param name="progress">Told after every step of every fit.</param>
    /// <param name="cancellationToken">Ends the work between two parts of a step.</param>
    /// <exception cref="ArgumentException">Sizes do not fit, there are too few images, or a feature is not finite.</exception>
    public static LinearResult Evaluate(
        Tensor features, IReadOnlyList<int> labels, Tensor testFeatures, IReadOnlyList<int> testLabels,
        IProgress<LinearProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        Check(features, labels, "training");
        Check(testFeatures, testLabels, "test");
        if (features.shape[0] < HoldOutEvery || features.shape[1] != testFeatures.shape[1])
            throw new ArgumentException($"a linear classifier needs at least {HoldOutEvery} training images, and test images of as many features; there are [{string.Join(", ", features.shape)}] and [{string.Join(", ", testFeatures.shape)}]", nameof(features));
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var classes = labels.Max() + 1;
        var (decay, heldOut, start) = Choose(features, labels, classes, progress, cancellationToken);
        var all = new LogisticRegression(features, labels, rows: null, classes, cancellationToken);
        var model = Minimize(all, decay, start, Settled, Reporter(progress, Decays.Count + 1, decay));
        return new LinearResult(Accuracy(model, testFeatures, testLabels), heldOut, decay, model.Excess / Math.Max(model.Objective, double.Epsilon));
    }

    /// <summary>The classifier of least objective.</summary>
    /// <param name="features">[n, F].</param>
    /// <param name="labels">n classes.</param>
    /// <param name="classes">How many there are.</param>
    /// <param name="decay">λ, above 0.</param>
    /// <param name="start">Where the search begins; null: at 0. The result does not depend on it.</param>
    /// <param name="tolerance">The search ends where the objective is proven to be within this part of its least value.</param>
    /// <param name="cancellationToken">Ends the work between two parts of a step.</param>
    public static LinearModel Fit(
        Tensor features, IReadOnlyList<int> labels, int classes, double decay, LinearModel? start = null, double tolerance = Settled, CancellationToken cancellationToken = default)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        return Outward(Minimize(new LogisticRegression(features, labels, rows: null, classes, cancellationToken), decay, start, tolerance, null));
    }

    /// <summary>The part of the images that a classifier names rightly.</summary>
    public static double Accuracy(LinearModel model, Tensor features, IReadOnlyList<int> labels) => Accuracy(model, features, labels, rows: null);

    /// <summary>The decay that names most held-out images rightly, the strongest of equals, and its classifier of the other images.</summary>
    private static (double Decay, double Accuracy, LinearModel Model) Choose(
        Tensor features, IReadOnlyList<int> labels, int classes, IProgress<LinearProgress>? progress, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();
        var all = Enumerable.Range(0, labels.Count).ToLookup(i => i % HoldOutEvery == 0);
        var (kept, held) = (all[false].ToList(), all[true].ToList());
        var problem = new LogisticRegression(features, labels, kept, classes, cancellationToken);
        (double Decay, double Accuracy, LinearModel Model)? best = null;
        LinearModel? last = null;
        var worse = 0;
        for (var i = 0; i < Decays.Count && worse < Patience; i++)
        {
            last = Minimize(problem, Decays[i], last, Comparable, Reporter(progress, i + 1, Decays[i]));
            var accuracy = Accuracy(last, features, labels, held);
            worse = best is { } b && accuracy <= b.Accuracy ? worse + 1 : 0;
            if (worse == 0)
                best = (Decays[i], accuracy, last);
        }

        var chosen = best!.Value;
        return chosen with { Model = Outward(chosen.Model) };
    }

    private static LinearModel Minimize(LogisticRegression problem, double decay, LinearModel? start, double tolerance, Action<int>? iterated)
    {
        var found = problem.Minimize(decay, start?.Weights, tolerance, iterated);
        return new LinearModel(found.Place, problem.Mean, problem.Deviation, found.Value, found.Excess);
    }

    private static LinearModel Outward(LinearModel model) => model with
    {
        Weights = model.Weights.MoveToOuterDisposeScope(),
        Mean = model.Mean.MoveToOuterDisposeScope(),
        Deviation = model.Deviation.MoveToOuterDisposeScope(),
    };

    private static Action<int>? Reporter(IProgress<LinearProgress>? progress, int fit, double decay) =>
        progress is null ? null : iteration => progress.Report(new LinearProgress(fit, Decays.Count + 1, decay, iteration));

    private static double Accuracy(LinearModel model, Tensor features, IReadOnlyList<int> labels, List<int>? rows)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var f = features.shape[1];
        var count = rows?.Count ?? labels.Count;
        var index = rows is null ? null : tensor(rows.Select(i => (long)i).ToArray(), device: features.device);
        var right = 0;
        foreach (var (begin, size) in LogisticRegression.Blocks(count, f))
        {
            using var part = NewDisposeScope();
            var block = index is null ? features.narrow(0, begin, size) : features.index_select(0, index.narrow(0, begin, size));
            var x = (block.to(ScalarType.Float64) - model.Mean) / model.Deviation;
            var scores = x.matmul(model.Weights.narrow(1, 0, f).t()) + model.Weights.narrow(1, f, 1).t();
            var found = scores.argmax(1).cpu().data<long>().ToArray();
            for (var i = 0; i < found.Length; i++)
                right += found[i] == labels[rows is null ? (int)begin + i : rows[(int)begin + i]] ? 1 : 0;
        }

        return (double)right / count;
    }

    private static void Check(Tensor features, IReadOnlyList<int> labels, string which)
    {
        if (features.dim() != 2 || features.shape[0] == 0 || features.shape[0] != labels.Count || labels.Any(l => l < 0))
            throw new ArgumentException($"the {which} set needs features [n, F] and n classes from 0 on; there are [{string.Join(", ", features.shape)}] and {labels.Count}");
        using var sum = features.sum();
        if (!double.IsFinite(sum.to(ScalarType.Float64).item<double>()))
            throw new ArgumentException($"The features of the {which} set are not finite; the network diverged.");
    }
}

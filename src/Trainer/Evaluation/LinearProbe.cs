using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>What a linear classifier reached on frozen features.</summary>
/// <param name="Accuracy">On the test images, looked at once: 0 to 1.</param>
/// <param name="HeldOutAccuracy">Of the chosen decay, on the held-out training images.</param>
/// <param name="Decay">The weight decay that was chosen.</param>
public sealed record LinearResult(double Accuracy, double HeldOutAccuracy, double Decay);

/// <summary>A linear classifier on standardised features: class = argmax of W · (x − mean) / deviation + b.</summary>
/// <param name="Weights">[classes, F + 1] float64; the last column is b.</param>
/// <param name="Mean">[F].</param>
/// <param name="Deviation">[F].</param>
public sealed record LinearModel(Tensor Weights, Tensor Mean, Tensor Deviation);

/// <summary>
/// Linear evaluation (Zhang et al. 2016 and all since): multinomial logistic regression on the features of a frozen backbone. The weight decay is
/// chosen on a sixth of the training images that the classifier has not seen; then it is fitted to all of them, and the test images are looked at once.
/// </summary>
/// <remarks>
/// The objective, mean cross-entropy + λ/2 ‖W‖² without b, is strictly convex in W, so its minimum is one number and any correct solver gives it. In
/// float64; n images of F features take 8 · n · (F + 1) bytes, twice.
/// </remarks>
public static class LinearProbe
{
    /// <summary>λ, the candidates, the strongest first: each fit begins where the one before ended.</summary>
    public static IReadOnlyList<double> Decays { get; } = [1e-1, 1e-2, 1e-3, 1e-4];

    private const int HoldOutEvery = 6;
    private const double SmallestDeviation = 1e-8;

    /// <summary>A gradient of which no element is larger moves no image to another class any more.</summary>
    private const double Settled = 1e-4;

    /// <summary>Chooses λ, fits, and tells how much of the test images is classified rightly.</summary>
    /// <param name="features">[n, F] of the training images, n at least <see cref="HoldOutEvery"/>.</param>
    /// <param name="labels">n classes, 0 and above.</param>
    /// <param name="testFeatures">[m, F].</param>
    /// <param name="testLabels">m classes.</param>
    /// <param name="cancellationToken">Ends the work between two iterations.</param>
    /// <exception cref="ArgumentException">Sizes do not fit, there are too few images, or a feature is not finite.</exception>
    public static LinearResult Evaluate(
        Tensor features, IReadOnlyList<int> labels, Tensor testFeatures, IReadOnlyList<int> testLabels, CancellationToken cancellationToken = default)
    {
        Check(features, labels, "training");
        Check(testFeatures, testLabels, "test");
        if (features.shape[0] < HoldOutEvery || features.shape[1] != testFeatures.shape[1])
            throw new ArgumentException($"a linear classifier needs at least {HoldOutEvery} training images, and test images of as many features; there are [{string.Join(", ", features.shape)}] and [{string.Join(", ", testFeatures.shape)}]", nameof(features));
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var all = Enumerable.Range(0, labels.Count).ToList();
        var (kept, held) = (all.Where(i => i % HoldOutEvery != 0).ToList(), all.Where(i => i % HoldOutEvery == 0).ToList());
        var classes = labels.Max() + 1;

        var (best, bestAccuracy) = (Decays[0], -1.0);
        LinearModel? model = null;
        foreach (var decay in Decays)
        {
            model = Fit(Rows(features, kept), Pick(labels, kept), classes, decay, model, Settled, cancellationToken);
            var accuracy = Accuracy(model, Rows(features, held), Pick(labels, held));
            if (accuracy > bestAccuracy)
                (best, bestAccuracy) = (decay, accuracy);
        }

        var final = Fit(features, labels, classes, best, model, Settled, cancellationToken);
        return new LinearResult(Accuracy(final, testFeatures, testLabels), bestAccuracy, best);
    }

    /// <summary>The classifier of least objective.</summary>
    /// <param name="features">[n, F].</param>
    /// <param name="labels">n classes.</param>
    /// <param name="classes">How many there are.</param>
    /// <param name="decay">λ, above 0.</param>
    /// <param name="start">Where the search begins; null: at 0. The result does not depend on it.</param>
    /// <param name="settled">The search ends where no element of the gradient is larger.</param>
    /// <param name="cancellationToken">Ends the work between two iterations.</param>
    public static LinearModel Fit(
        Tensor features, IReadOnlyList<int> labels, int classes, double decay, LinearModel? start = null, double settled = 1e-7, CancellationToken cancellationToken = default)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var (n, f) = (features.shape[0], features.shape[1]);
        var exact = features.to(ScalarType.Float64);
        var (mean, deviation) = (exact.mean([0]), exact.std(0, unbiased: false).clamp_min(SmallestDeviation));
        var x = cat([(exact - mean) / deviation, ones(n, 1, dtype: ScalarType.Float64)], 1);                   // [n, F + 1]
        var target = tensor(labels.Select(l => (long)l).ToArray()).unsqueeze(1);                             // [n, 1]
        var penalty = full([1, f + 1], decay, dtype: ScalarType.Float64);
        penalty.narrow(1, f, 1).zero_();                                                                     // b is free

        (double Value, Tensor Gradient) Objective(Tensor w)                                                  // [classes · (F + 1)]
        {
            using var inner = NewDisposeScope();
            var weights = w.view(classes, f + 1);
            var logp = x.matmul(weights.t()).log_softmax(1);                                                 // [n, classes]
            var value = -logp.gather(1, target).mean() + ((weights.square() * penalty).sum() / 2);
            var residual = logp.exp();
            residual.scatter_add_(1, target, full([n, 1], -1.0, dtype: ScalarType.Float64));
            var gradient = (residual.t().matmul(x) / n) + (weights * penalty);                               // [classes, F + 1]
            return (value.item<double>(), gradient.flatten().MoveToOuterDisposeScope());
        }

        var begin = start?.Weights.flatten() ?? zeros(classes * (f + 1), dtype: ScalarType.Float64);
        var weights = Lbfgs.Minimize(Objective, begin, settled, cancellationToken).view(classes, f + 1);
        return new LinearModel(weights.MoveToOuterDisposeScope(), mean.MoveToOuterDisposeScope(), deviation.MoveToOuterDisposeScope());
    }

    /// <summary>The part of the images that a classifier names rightly.</summary>
    public static double Accuracy(LinearModel model, Tensor features, IReadOnlyList<int> labels)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var f = features.shape[1];
        var x = (features.to(ScalarType.Float64) - model.Mean) / model.Deviation;
        var scores = x.matmul(model.Weights.narrow(1, 0, f).t()) + model.Weights.narrow(1, f, 1).t();
        return scores.argmax(1).data<long>().ToArray().Zip(labels, (found, label) => found == label ? 1.0 : 0.0).Average();
    }

    private static Tensor Rows(Tensor features, List<int> rows) => features.index_select(0, tensor(rows.Select(i => (long)i).ToArray()));

    private static int[] Pick(IReadOnlyList<int> labels, List<int> rows) => [.. rows.Select(i => labels[i])];

    private static void Check(Tensor features, IReadOnlyList<int> labels, string which)
    {
        if (features.dim() != 2 || features.shape[0] == 0 || features.shape[0] != labels.Count || labels.Any(l => l < 0))
            throw new ArgumentException($"the {which} set needs features [n, F] and n classes from 0 on; there are [{string.Join(", ", features.shape)}] and {labels.Count}");
        using var sum = features.sum();
        if (!double.IsFinite(sum.to(ScalarType.Float64).item<double>()))
            throw new ArgumentException($"The features of the {which} set are not finite; the network diverged.");
    }
}

using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>How well embeddings are.</summary>
public enum EmbeddingHealth
{
    /// <summary>Spread out, over many dimensions.</summary>
    Healthy = 0,

    /// <summary>On the way to a point or a line.</summary>
    Warning = 1,

    /// <summary>Nearly all embeddings are one, or lie on a line.</summary>
    Collapsed = 2,
}

/// <summary>What a look at embeddings found, in the worse of the two views.</summary>
/// <param name="Std">Mean over dimensions of the standard deviation of unit embeddings; 1/√d when spread evenly, 0 when all are one.</param>
/// <param name="EffectiveRank">e to the entropy of the singular values (RankMe): how many dimensions are used, 1 to d. Shown; the verdict is of <paramref name="Participation"/>.</param>
/// <param name="Alignment">Mean squared distance of two views of one image: 0 to 4, small is good.</param>
/// <param name="Uniformity">log of the mean of e^(−2‖x − y‖²) over pairs of images: 0 when all are one, near −4 when spread evenly.</param>
/// <param name="Health">The verdict.</param>
/// <param name="Reason">Why, with what to do about it; empty when healthy.</param>
/// <param name="Spread">Std as a part of an even one's: 1 when spread evenly, 0 when all are one.</param>
/// <param name="Loss">Mean since the last look; not a number where none was given.</param>
/// <param name="Participation">(Σλ)²/Σλ² of the eigenvalues of the covariance: how many dimensions hold most of the variance, 1 to d.</param>
/// <param name="Apart">Mean squared distance of views of two images; what alignment is to be less than.</param>
public sealed record CollapseReport(
    double Std, double EffectiveRank, double Alignment, double Uniformity, EmbeddingHealth Health, string Reason, double Spread, double Loss,
    double Participation = double.NaN, double Apart = double.NaN)
{
    /// <summary>Verdict and reason in one line: <c>healthy</c>, <c>warning: embeddings draw together …</c>.</summary>
    public string Verdict => Health.ToString().ToLowerInvariant() + (Reason.Length > 0 ? ": " + Reason : "");
}

/// <summary>
/// Tells a healthy embedding from a collapsed one, by one look; <see cref="LookHistory"/> judges what takes several. Sources: Chen and He 2020 (std
/// against 1/√d), Garrido et al. 2022 (RankMe), Wang and Isola 2020 (alignment and uniformity).
/// </summary>
/// <remarks>
/// Spread tells a point, participation a line. RankMe cannot: it counts the small singular values of noise, and is 69 of 128 where 91 % of the energy
/// are on one line. Participation is that of the covariance, about the mean: a mean that is long beside the rest is how networks begin, and is what
/// spread judges already; left in, it would pass for the line. Of batches of few kinds of images healthy methods use no more than two or three
/// dimensions: the limits are below what those of the tests (16 and 32 dimensions, from the first step on) have come to.
/// </remarks>
public static class CollapseWatch
{
    /// <summary>Fewer images are too few to judge.</summary>
    public const int FewestImages = 8;

    /// <summary>Spread below which embeddings draw together, as a part of an even one's.</summary>
    public const double WarningSpread = 0.4;

    private const double CollapsedSpread = 0.1;
    private const double CollapsedParticipation = 1.25, WarningParticipation = 1.75;    // 89 and 76 % of the variance on one line

    /// <summary>Looks at the embeddings of two views.</summary>
    /// <param name="x">View 1 of n images: unit rows [n, d], n at least 2.</param>
    /// <param name="y">View 2 of the same images.</param>
    /// <param name="size">How much of the wanted length they had before: see <see cref="EmbeddingDiagnostics.Directions"/>.</param>
    /// <exception cref="ArgumentException">There is a single image, or the shapes differ.</exception>
    public static CollapseReport Look(Tensor x, Tensor y, double size = 1)
    {
        var (n, d) = (x.shape[0], x.shape[1]);
        if (n < 2 || y.shape[0] != n || y.shape[1] != d)
            throw new ArgumentException($"two views of at least 2 images are needed, [n, d] each; they are [{string.Join(", ", x.shape)}] and [{string.Join(", ", y.shape)}]", nameof(x));
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        var (a, b) = (x.detach().to(ScalarType.Float64), y.detach().to(ScalarType.Float64));
        var alignment = (a - b).square().sum(1).mean().item<double>();
        var lengths = (a.square().sum() + b.square().sum()).item<double>();
        var everyPair = (n * lengths) - (2 * (a.sum([0]) * b.sum([0])).sum().item<double>());    // Σᵢⱼ ‖aᵢ − bⱼ‖²
        var apart = (everyPair - (n * alignment)) / (n * (double)(n - 1));

        var (first, second) = (Measure(a, size), Measure(b, size));
        var most = Math.Min(n, d);
        var ofFirst = Judge(first.Spread, first.Participation, most);
        var ofSecond = Judge(second.Spread, second.Participation, most);
        // One view alone can collapse: MoCo's keys, PIRL's patches.
        var (worse, view) = ofSecond.Health > ofFirst.Health ? (second, " of view 2") : (first, ofFirst.Health > ofSecond.Health ? " of view 1" : "");
        var (health, reason) = Judge(worse.Spread, worse.Participation, most, view);
        return new CollapseReport(worse.Std, worse.Rank, alignment, worse.Uniformity, health, reason, worse.Spread, double.NaN, worse.Participation, apart);
    }

    /// <summary>exp(−Σ p log p), pₖ = σₖ/Σσ + 1e-7.</summary>
    public static double EffectiveRank(IReadOnlyList<double> singularValues)
    {
        var total = singularValues.Sum();
        return total == 0 ? 0 : Math.Exp(-singularValues.Select(s => (s / total) + 1e-7).Sum(p => p * Math.Log(p)));
    }

    /// <summary>The verdict of one view.</summary>
    /// <param name="spread">As a part of the even one.</param>
    /// <param name="participation">Of the covariance's eigenvalues.</param>
    /// <param name="most">The most that participation can be.</param>
    /// <param name="view">Which view's, for the reason; empty: of both.</param>
    public static (EmbeddingHealth Health, string Reason) Judge(double spread, double participation, double most, string view = "")
    {
        const string Remedy = "check that the method keeps what prevents collapse (stop-gradient, negatives, variance term, centring), lower optimizer.lr, lengthen optimizer.warmup";
        if (!double.IsFinite(spread) || !double.IsFinite(participation))
            return (EmbeddingHealth.Collapsed, $"embeddings{view} are not finite: lower optimizer.lr");
        if (spread < CollapsedSpread)
            return (EmbeddingHealth.Collapsed, $"all embeddings{view} are nearly one point (spread {spread:p0} of an even one): {Remedy}");
        if (participation < CollapsedParticipation)
            return (EmbeddingHealth.Collapsed, $"all embeddings{view} lie on a line (variance in {participation:f1} of {most:f0} dimensions): {Remedy}");
        if (spread < WarningSpread)
            return (EmbeddingHealth.Warning, $"embeddings{view} draw together (spread {spread:p0} of an even one): {Remedy}");
        return participation < Math.Min(WarningParticipation, most / 2)
            ? (EmbeddingHealth.Warning, $"embeddings{view} use few dimensions (variance in {participation:f1} of {most:f0}): {Remedy}")
            : (EmbeddingHealth.Healthy, "");
    }

    private static (double Std, double Spread, double Rank, double Participation, double Uniformity) Measure(Tensor a, double size)
    {
        var (n, d) = (a.shape[0], a.shape[1]);
        var products = a.matmul(a.t());                                       // [n, n]
        var lengths = products.diagonal();
        var squared = lengths.unsqueeze(1) + lengths - (2 * products);
        var uniformity = Math.Log(((squared * -2).exp().sum().item<double>() - n) / (n * (double)(n - 1)));
        var std = a.std(0).mean().item<double>() * size;
        if (!double.IsFinite(std))
            return (std, std, double.NaN, double.NaN, uniformity);
        // Squared singular values are the eigenvalues of the smaller product: [256, 8192] is judged as fast as [256, 256].
        var squares = linalg.eigvalsh(n < d ? products : a.t().matmul(a)).clamp_min(0);
        var rank = EffectiveRank(squares.sqrt().data<double>().ToArray());

        // Σλ is the trace of the covariance, Σλ² the sum of its squared elements; n of both cancels.
        var centred = a - a.mean([0], keepdim: true);
        var sum = centred.square().sum().item<double>();
        var squareSum = (n < d ? centred.matmul(centred.t()) : centred.t().matmul(centred)).square().sum().item<double>();
        return (std, std * Math.Sqrt(d), rank, squareSum == 0 ? 0 : sum * sum / squareSum, uniformity);
    }
}

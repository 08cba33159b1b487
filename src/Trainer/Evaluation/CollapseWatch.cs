using System.Globalization;
using DarkMatter.Trainer.Methods;
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

/// <summary>What a look at embeddings found.</summary>
/// <param name="Std">Mean over dimensions of the standard deviation of unit embeddings; 1/√d when spread evenly, 0 when all are one.</param>
/// <param name="EffectiveRank">e to the entropy of the singular values (RankMe): how many dimensions are used, 1 to d.</param>
/// <param name="Alignment">Mean squared distance of two views of one image: 0 to 4, small is good.</param>
/// <param name="Uniformity">log of the mean of e^(−2‖x − y‖²) over pairs of images: 0 when all are one, near −4 when spread evenly.</param>
/// <param name="Health">The verdict.</param>
/// <param name="Reason">Why, with what to do about it; empty when healthy.</param>
/// <param name="Spread">Std as a part of an even one's: 1 when spread evenly, 0 when all are one.</param>
/// <param name="Loss">Mean since the last look; not a number where none was given.</param>
public sealed record CollapseReport(
    double Std, double EffectiveRank, double Alignment, double Uniformity, EmbeddingHealth Health, string Reason, double Spread, double Loss)
{
    /// <summary>Verdict and reason in one line: <c>healthy</c>, <c>warning: embeddings draw together …</c>.</summary>
    public string Verdict => Health.ToString().ToLowerInvariant() + (Reason.Length > 0 ? ": " + Reason : "");
}

/// <summary>
/// Tells a healthy embedding from a collapsed one. Sources: Chen and He 2020 (std against 1/√d), Garrido et al. 2022 (RankMe), Wang and Isola 2020
/// (alignment and uniformity). Effective rank compares runs of one method only; here it only tells a few dimensions from none.
/// </summary>
public static class CollapseWatch
{
    private const double CollapsedStd = 0.1, WarningStd = 0.4;                // parts of 1/√d
    private const double CollapsedRank = 1.5, WarningRank = 4;
    private const double AtPlateau = 0.005;                                   // part of the plateau's loss, of 1 at least

    /// <summary>Looks at the embeddings of two views.</summary>
    /// <param name="x">View 1 of n images: unit rows [n, d], n at least 2.</param>
    /// <param name="y">View 2 of the same images.</param>
    /// <param name="loss">Mean since the last look; not a number: it is not judged.</param>
    /// <param name="plateaus">Losses at which the method stands still.</param>
    /// <exception cref="ArgumentException">There is a single image, or the shapes differ.</exception>
    public static CollapseReport Look(Tensor x, Tensor y, double loss = double.NaN, IReadOnlyList<Plateau>? plateaus = null)
    {
        var (n, d) = (x.shape[0], x.shape[1]);
        if (n < 2 || y.shape[0] != n || y.shape[1] != d)
            throw new ArgumentException($"two views of at least 2 images are needed, [n, d] each; they are [{string.Join(", ", x.shape)}] and [{string.Join(", ", y.shape)}]", nameof(x));
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        var (a, b) = (x.detach().to(ScalarType.Float64), y.detach().to(ScalarType.Float64));
        var alignment = (a - b).square().sum(1).mean().item<double>();
        var products = a.matmul(a.t());                                       // [n, n]
        var squared = 2 - (2 * products);
        var uniformity = Math.Log(((squared * -2).exp().sum().item<double>() - n) / (n * (double)(n - 1)));
        var std = a.std(0).mean().item<double>();
        var (spread, rank) = (std * Math.Sqrt(d), double.NaN);
        if (double.IsFinite(std))
        {
            // Squared singular values are the eigenvalues of the smaller product: [256, 8192] is judged as fast as [256, 256].
            var squares = linalg.eigvalsh(n < d ? products : a.t().matmul(a)).clamp_min(0);
            rank = EffectiveRank(squares.sqrt().data<double>().ToArray());
        }

        var (health, reason) = Judge(spread, rank, Math.Min(n, d));
        if (health == EmbeddingHealth.Healthy && Stuck(loss, plateaus ?? []) is { } stuck)
            (health, reason) = (EmbeddingHealth.Warning, stuck);
        return new CollapseReport(std, rank, alignment, uniformity, health, reason, spread, loss);
    }

    /// <summary>Why the loss stands still, with what to do about it; null when it is at none of the plateaus.</summary>
    public static string? Stuck(double loss, IReadOnlyList<Plateau> plateaus) =>
        plateaus.FirstOrDefault(p => Math.Abs(loss - p.Loss) <= AtPlateau * Math.Max(1, Math.Abs(p.Loss))) is { } at
            ? string.Create(CultureInfo.InvariantCulture, $"the loss stands at {loss:0.000}, near {at.Loss:0.000} = {at.Meaning}: raise optimizer.lr if it has been there since the start, lower it if the loss came back to it; a lower temperature helps where the method has one")
            : null;

    /// <summary>exp(−Σ p log p), pₖ = σₖ/Σσ + 1e-7.</summary>
    public static double EffectiveRank(IReadOnlyList<double> singularValues)
    {
        var total = singularValues.Sum();
        return total == 0 ? 0 : Math.Exp(-singularValues.Select(s => (s / total) + 1e-7).Sum(p => p * Math.Log(p)));
    }

    /// <summary>The verdict from the spread, as a part of the even one, and the effective rank out of the most there can be.</summary>
    public static (EmbeddingHealth Health, string Reason) Judge(double spread, double rank, double most)
    {
        const string Remedy = "check that the method keeps what prevents collapse (stop-gradient, negatives, variance term, centring), lower optimizer.lr, lengthen optimizer.warmup";
        if (!double.IsFinite(spread) || !double.IsFinite(rank))
            return (EmbeddingHealth.Collapsed, "embeddings are not finite: lower optimizer.lr");
        if (spread < CollapsedStd)
            return (EmbeddingHealth.Collapsed, $"all embeddings are nearly one point (spread {spread:p0} of an even one): {Remedy}");
        if (rank < CollapsedRank)
            return (EmbeddingHealth.Collapsed, $"all embeddings lie on a line (effective rank {rank:f1} of {most:f0}): {Remedy}");
        if (spread < WarningStd)
            return (EmbeddingHealth.Warning, $"embeddings draw together (spread {spread:p0} of an even one): {Remedy}");
        return rank < Math.Min(WarningRank, most / 2)
            ? (EmbeddingHealth.Warning, $"embeddings use few dimensions (effective rank {rank:f1} of {most:f0}): {Remedy}")
            : (EmbeddingHealth.Healthy, "");
    }
}

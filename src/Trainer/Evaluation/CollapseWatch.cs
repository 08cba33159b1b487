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
public sealed record CollapseReport(double Std, double EffectiveRank, double Alignment, double Uniformity, EmbeddingHealth Health, string Reason);

/// <summary>
/// Tells a healthy embedding from a collapsed one. Sources: Chen and He 2020 (std against 1/√d), Garrido et al. 2022 (RankMe), Wang and Isola 2020
/// (alignment and uniformity). Effective rank compares runs of one method only; here it only tells a few dimensions from none.
/// </summary>
public static class CollapseWatch
{
    private const double CollapsedStd = 0.1, WarningStd = 0.4;                // parts of 1/√d
    private const double CollapsedRank = 1.5, WarningRank = 4;

    /// <summary>Looks at the embeddings of two views.</summary>
    /// <param name="x">View 1 of n images: unit rows [n, d], n at least 2.</param>
    /// <param name="y">View 2 of the same images.</param>
    /// <exception cref="ArgumentException">There is a single image, or the shapes differ.</exception>
    public static CollapseReport Look(Tensor x, Tensor y)
    {
        var (n, d) = (x.shape[0], x.shape[1]);
        if (n < 2 || y.shape[0] != n || y.shape[1] != d)
            throw new ArgumentException($"two views of at least 2 images are needed, [n, d] each; they are [{string.Join(", ", x.shape)}] and [{string.Join(", ", y.shape)}]", nameof(x));
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        var (a, b) = (x.detach().to(ScalarType.Float64), y.detach().to(ScalarType.Float64));
        var alignment = (a - b).square().sum(1).mean().item<double>();
        var squared = 2 - (2 * a.matmul(a.t()));                              // [n, n]
        var uniformity = Math.Log(((squared * -2).exp().sum().item<double>() - n) / (n * (double)(n - 1)));
        var std = a.std(0).mean().item<double>();
        var rank = EffectiveRank(linalg.svdvals(a).data<double>().ToArray());
        var (health, reason) = Judge(std * Math.Sqrt(d), rank, Math.Min(n, d));
        return new CollapseReport(std, rank, alignment, uniformity, health, reason);
    }

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

using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// Spreads samples evenly over prototypes: the Sinkhorn-Knopp iteration on the scores of all ranks' samples. Source: Cuturi 2013; the authors'
/// <c>distributed_sinkhorn</c> of SwAV. Sums over samples cross the ranks; those over prototypes do not need to.
/// </summary>
internal static class Sinkhorn
{
    /// <summary>Soft assignments, every row summing to 1 and every prototype getting nearly the same in all. Without gradient.</summary>
    /// <param name="scores">Cosines of this rank's samples and the prototypes: [m, K].</param>
    /// <param name="epsilon">ε, the smoothness: large is uniform.</param>
    /// <param name="iterations">How often rows and columns are evened out.</param>
    /// <param name="ranks">Whose samples are spread together; they may have different m.</param>
    internal static Tensor Assign(Tensor scores, double epsilon, int iterations, ICollective ranks)
    {
        using var _ = no_grad();
        double[] samples = [scores.shape[0]];
        ranks.AllReduceSum(samples);                                          // M
        var prototypes = scores.shape[1];                                     // K
        var q = ((scores.detach() - 1) / epsilon).exp();                      // [m, K]; scores are cosines: no more than 1, a little more when learning goes wrong
        q /= Sum(q.sum(), ranks);                                             // a joint distribution: all elements sum to 1
        for (var i = 0; i < iterations; i++)
        {
            q /= (Sum(q.sum([0]), ranks) * prototypes).clamp_min(Least);        // every prototype has 1/K of it
            q /= q.sum(1, keepdim: true) * samples[0];                        // every sample has 1/M of it
        }

        return q * samples[0];
    }

    /// <summary>A prototype so far from every sample that its powers underflow gets nothing, not 0/0.</summary>
    private const double Least = 1e-30;

    private static Tensor Sum(Tensor x, ICollective ranks)
    {
        ranks.AllReduceSum(x);
        return x;
    }
}

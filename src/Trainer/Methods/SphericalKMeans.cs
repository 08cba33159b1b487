using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// k-means on unit vectors that all ranks have: a vector belongs to the centroid it has the largest cosine with, a centroid is the direction of
/// its vectors' mean. Each rank assigns its part of the vectors; sums cross the ranks. Source: the authors' <c>cluster_memory</c> of DeepCluster-v2.
/// </summary>
internal static class SphericalKMeans
{
    /// <summary>Vectors that are assigned at once: bounds the memory for their cosines.</summary>
    private const int Chunk = 8192;

    /// <summary>Clusters the vectors, from <paramref name="start"/> on. Without gradient; the result is the same on every rank.</summary>
    /// <param name="mine">This rank's <see cref="Part"/> of the M vectors: unit rows, or rows of zeros, which belong nowhere. [M/W, D].</param>
    /// <param name="total">M.</param>
    /// <param name="start">The first centroids, unit rows: [K, D].</param>
    /// <param name="iterations">How often centroids move.</param>
    /// <param name="ranks">Who shares the work.</param>
    /// <returns>Centroids [K, D]; which of them each vector belongs to after the last move, [M] int64, −1 for rows of zeros.</returns>
    internal static (Tensor Centroids, Tensor Assignments) Cluster(Tensor mine, long total, Tensor start, int iterations, ICollective ranks)
    {
        using var _ = no_grad();
        var parts = Enumerable.Range(0, ranks.World).Select(rank => Part(total, rank, ranks.World)).Select(part => (int)(part.End - part.First)).ToArray();
        var centroids = start.clone();
        for (var i = 0; i < iterations; i++)
        {
            using var scope = NewDisposeScope();
            var sums = zeros_like(centroids);                                 // [K, D]
            foreach (var chunk in mine.split(Chunk))
                sums.index_add_(0, Nearest(chunk, centroids).clamp_min(0), chunk, 1);    // rows of zeros add nothing
            ranks.AllReduceSum(sums);
            var moved = normalize(sums, dim: 1);                              // the mean's direction: the count does not matter
            var empty = sums.square().sum(1, keepdim: true).eq(0);
            centroids.copy_(centroids.where(empty, moved));
        }

        var nearest = cat([.. mine.split(Chunk).Select(chunk => Nearest(chunk, centroids))]);    // [M/W]
        return (centroids, ranks.AllGather(nearest, parts));
    }

    /// <summary>Which of the vectors a rank assigns.</summary>
    internal static (long First, long End) Part(long total, int rank, int world) => (total * rank / world, total * (rank + 1) / world);

    private static Tensor Nearest(Tensor vectors, Tensor centroids) =>
        vectors.matmul(centroids.t()).argmax(1).masked_fill(vectors.square().sum(1).eq(0), -1);
}

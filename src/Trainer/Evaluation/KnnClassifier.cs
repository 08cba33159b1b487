using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>
/// Weighted k-nearest-neighbour classification on unit features: the k most similar bank entries vote for their class with weight
/// exp(similarity / τ). Source: Wu et al. 2018, section 3.4, as lightly's <c>knn_predict</c> and the MoCo notebook compute it.
/// </summary>
/// <param name="options">k and τ.</param>
public sealed class KnnClassifier(KnnOptions options)
{
    /// <summary>The most similarities held at a time: 64 Mi floats are 256 MiB.</summary>
    private const long ChunkElements = 64L << 20;

    /// <summary>The class of every query. The same input gives the same output, to the bit.</summary>
    /// <param name="bank">[M, D] float32 features of known class; scaled to unit length here.</param>
    /// <param name="bankLabels">M classes, 0 and above.</param>
    /// <param name="queries">[Q, D] float32.</param>
    /// <param name="cancellationToken">Ends the work between two parts.</param>
    /// <exception cref="ArgumentException">Sizes do not fit, the bank holds fewer than k, or a feature is not finite.</exception>
    public int[] Classify(Tensor bank, IReadOnlyList<int> bankLabels, Tensor queries, CancellationToken cancellationToken = default)
    {
        Check(bank, bankLabels, queries);
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var classes = bankLabels.Max() + 1;
        var labels = tensor(bankLabels.Select(l => (long)l).ToArray(), device: bank.device);   // [M]
        var candidates = nn.functional.normalize(bank, dim: 1).t();                           // [D, M]
        var unit = nn.functional.normalize(queries, dim: 1);                                  // [Q, D]
        var chunk = Math.Max(1, ChunkElements / bank.shape[0]);
        var result = new List<int>((int)queries.shape[0]);
        for (long begin = 0; begin < queries.shape[0]; begin += chunk)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var part = NewDisposeScope();
            var rows = Math.Min(chunk, queries.shape[0] - begin);
            var similarity = unit.narrow(0, begin, rows).mm(candidates);                      // [q, M]
            var (nearest, index) = similarity.topk(options.K, dim: 1);                        // [q, k] each
            var weights = ((nearest - 1) / options.Temperature).exp();                        // at most 1: no overflow at small τ
            var votes = zeros([rows, classes], device: bank.device);
            votes.scatter_add_(1, labels.index_select(0, index.flatten()).view(rows, options.K), weights);
            result.AddRange(votes.argmax(1).cpu().data<long>().ToArray().Select(c => (int)c));
        }

        return [.. result];
    }

    /// <summary>The part of the queries whose class is right, 0 to 1.</summary>
    /// <param name="bank">[M, D] float32.</param>
    /// <param name="bankLabels">M classes.</param>
    /// <param name="queries">[Q, D] float32.</param>
    /// <param name="queryLabels">Q classes.</param>
    /// <param name="cancellationToken">Ends the work between two parts.</param>
    /// <exception cref="ArgumentException">As <see cref="Classify"/>.</exception>
    public double Accuracy(Tensor bank, IReadOnlyList<int> bankLabels, Tensor queries, IReadOnlyList<int> queryLabels, CancellationToken cancellationToken = default)
    {
        if (queryLabels.Count != queries.shape[0])
            throw new ArgumentException($"{queries.shape[0]} queries have {queryLabels.Count} labels.", nameof(queryLabels));
        return Classify(bank, bankLabels, queries, cancellationToken).Zip(queryLabels, (predicted, label) => predicted == label ? 1.0 : 0.0).Average();
    }

    private void Check(Tensor bank, IReadOnlyList<int> labels, Tensor queries)
    {
        if (options.Problems().ToList() is { Count: > 0 } problems)
            throw new ArgumentException(string.Join("; ", problems));
        if (bank.dim() != 2 || queries.dim() != 2 || bank.shape[1] != queries.shape[1])
            throw new ArgumentException($"kNN compares [M, D] with [Q, D], but got [{string.Join(", ", bank.shape)}] and [{string.Join(", ", queries.shape)}].");
        if (queries.shape[0] == 0)
            throw new ArgumentException("kNN needs at least one query; the evaluation set is empty.", nameof(queries));
        if (labels.Count != bank.shape[0])
            throw new ArgumentException($"The bank has {bank.shape[0]} features and {labels.Count} labels.", nameof(labels));
        if (bank.shape[0] < options.K)
            throw new ArgumentException($"evaluation.knn.k is {options.K}, but the bank holds only {bank.shape[0]} images; choose a smaller k.", nameof(bank));
        if (labels.Any(l => l < 0))
            throw new ArgumentException("A label is negative; classes count from 0.", nameof(labels));
        foreach (var (name, features) in (ReadOnlySpan<(string, Tensor)>)[("bank", bank), ("queries", queries)])
        {
            using var sum = features.sum();
            if (!double.IsFinite(sum.to(ScalarType.Float64).item<double>()))
                throw new ArgumentException($"The features of the {name} are not finite; the network diverged.");
        }
    }
}

using DarkMatter.Trainer.Methods;

namespace DarkMatter.Trainer.Training;

/// <summary>The few numbers that ride with the gradients, summed over the ranks.</summary>
/// <param name="Loss">Of the global batch.</param>
/// <param name="EmbeddingStd">Mean over ranks, weighted by images: see <see cref="Evaluation.EmbeddingDiagnostics"/>.</param>
/// <param name="Stop">Whether rank 0 was asked to stop.</param>
public readonly record struct StepSums(double Loss, double EmbeddingStd, bool Stop)
{
    /// <summary>How many there are.</summary>
    public const int Count = 3;

    /// <summary>This rank's summands.</summary>
    public static double[] Summands(MethodLoss loss, TrainOptions options, bool stop) =>
    [
        loss.Value.detach().to(TorchSharp.torch.ScalarType.Float64).item<double>(),
        Evaluation.EmbeddingDiagnostics.Std(loss.Embeddings) * options.RankBatch / options.GlobalBatch,
        stop ? 1 : 0,
    ];

    /// <summary>The sums, in the order of <see cref="Summands"/>.</summary>
    public static StepSums From(ReadOnlySpan<double> sums) => new(sums[0], sums[1], sums[2] > 0);
}

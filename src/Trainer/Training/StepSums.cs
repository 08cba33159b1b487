using DarkMatter.Trainer.Methods;

namespace DarkMatter.Trainer.Training;

/// <summary>The few numbers that ride with the gradients, summed over the ranks: all ranks see the same and act alike.</summary>
/// <param name="Loss">Of the global batch.</param>
/// <param name="EmbeddingStd">Mean over ranks, weighted by images: see <see cref="Evaluation.EmbeddingDiagnostics"/>.</param>
/// <param name="Stop">Whether a rank was asked to end the run.</param>
/// <param name="Yield">Whether a rank is to leave this generation: all leave it after this step.</param>
/// <param name="Checkpoint">Whether a checkpoint is wanted before that.</param>
/// <param name="Busy">Whether a rank still writes the checkpoint before.</param>
/// <param name="SamplesDigest">The wrapping sum of the ranks' <see cref="IViewBatch.Digest"/>.</param>
public readonly record struct StepSums(double Loss, double EmbeddingStd, bool Stop, bool Yield, bool Checkpoint, bool Busy, ulong SamplesDigest)
{
    /// <summary>How many there are.</summary>
    public const int Count = Flags + Limbs;

    private const int Flags = 6;
    private const int Limbs = 8;
    private const int LimbBits = 8;

    /// <summary>Whether this was the last step here.</summary>
    public bool Leave => Stop || Yield;

    /// <summary>This rank's summands.</summary>
    public static double[] Summands(MethodLoss loss, TrainOptions options, ulong digest, ITrainingSession session, bool busy)
    {
        var summands = new double[Count];
        summands[0] = loss.Value.detach().to(TorchSharp.torch.ScalarType.Float64).item<double>();
        summands[1] = Evaluation.EmbeddingDiagnostics.Std(loss.Embeddings, options.Method.Radius) * options.RankBatch / options.GlobalBatch;
        summands[2] = session.StopRequested ? 1 : 0;
        summands[3] = session.YieldRequested ? 1 : 0;
        summands[4] = session.CheckpointRequested ? 1 : 0;
        summands[5] = busy ? 1 : 0;
        // 64 bits do not fit a float32. Limbs of 8 bits do, exactly, as do their sums over up to 65,793 ranks: 255 · W < 2^24.
        for (var i = 0; i < Limbs; i++)
            summands[Flags + i] = (byte)(digest >> (LimbBits * i));
        return summands;
    }

    /// <summary>The sums, in the order of <see cref="Summands"/>.</summary>
    public static StepSums From(ReadOnlySpan<double> sums)
    {
        ulong digest = 0;
        for (var i = 0; i < Limbs; i++)
            digest += (ulong)sums[Flags + i] << (LimbBits * i);                      // modulo 2^64, carries included
        return new StepSums(sums[0], sums[1], sums[2] > 0, sums[3] > 0, sums[4] > 0, sums[5] > 0, digest);
    }
}

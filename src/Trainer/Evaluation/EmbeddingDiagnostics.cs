using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>Numbers that tell a healthy embedding from a collapsed one.</summary>
public static class EmbeddingDiagnostics
{
    /// <summary>Mean over dimensions of the standard deviation of unit embeddings: near 1/√D when healthy, 0 when collapsed.</summary>
    /// <param name="unit">[n, D] of unit length, n ≥ 2.</param>
    public static double Std(Tensor unit)
    {
        using var std = unit.std(0);
        using var mean = std.mean();
        return mean.to(ScalarType.Float64).item<double>();
    }
}

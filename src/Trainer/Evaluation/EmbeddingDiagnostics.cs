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

    /// <summary>As above, of embeddings as a method shows them.</summary>
    /// <param name="embeddings">[n, D], n ≥ 2.</param>
    /// <param name="radius">The method's <see cref="Methods.MethodOptions.Radius"/>.</param>
    public static double Std(Tensor embeddings, double? radius)
    {
        var (unit, size) = Directions(embeddings, radius);
        return Std(unit) * size;
    }

    /// <summary>
    /// Unit rows of embeddings as a method shows them. Where it sees places they are taken about their mean, as no place is special; a point that is
    /// blown up to unit length would look spread out, so the size says how much of the wanted length there is.
    /// </summary>
    /// <param name="embeddings">[n, D], all that are judged together.</param>
    /// <param name="radius">The length the method wants; null: the rows are directions and come back as they are.</param>
    /// <returns>Unit rows [n, D]; 0 to 1, where half the wanted length is enough for 1: losses balance it against other terms.</returns>
    public static (Tensor Unit, double Size) Directions(Tensor embeddings, double? radius)
    {
        if (radius is not { } wanted)
            return (embeddings, 1);
        using var _ = no_grad();
        var centred = embeddings - embeddings.mean([0], keepdim: true);
        var length = centred.square().sum(1).mean().sqrt().to(ScalarType.Float64).item<double>();
        return (nn.functional.normalize(centred, dim: 1), Math.Min(1, 2 * length / wanted));
    }
}

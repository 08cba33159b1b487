namespace DarkMatter.Trainer.Methods;

/// <summary>A loss at which a method stands still that has learned nothing, or has collapsed.</summary>
/// <param name="Loss">Of the global batch.</param>
/// <param name="Meaning">Its formula, and what it says of the embeddings.</param>
/// <param name="Remedy">What to do about it, in the recipe's keys.</param>
/// <param name="Collapse">Whether a run that stays there is taken for collapsed; if not, it is only warned of.</param>
public sealed record Plateau(double Loss, string Meaning, string Remedy, bool Collapse)
{
    /// <summary>How near a loss is at it. Default 0.5 % of it, whatever its size; a plateau at 0 has to give one.</summary>
    public double Tolerance { get; init; } = 0.005 * Math.Abs(Loss);

    /// <summary>Whether it counts only where embeddings draw together too, since healthy runs pass this loss. Default false.</summary>
    public bool OnlyDrawnTogether { get; init; }

    /// <summary>The remedy of a loss that tells nothing apart, in methods that choose among candidates.</summary>
    internal const string ChanceRemedy =
        "raise optimizer.lr if it has been there since the start; lower it, or lengthen optimizer.warmup, if the loss came back to it; a lower method.temperature tells candidates apart sooner";

    /// <summary>The remedy of a prediction that is perfect.</summary>
    internal const string PredictedRemedy =
        "check that no gradient reaches what is predicted (method.stop_gradient); if none does, the views are too alike: augment more strongly (views)";
}

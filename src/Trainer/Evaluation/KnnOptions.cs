namespace DarkMatter.Trainer.Evaluation;

/// <summary>The weighted nearest-neighbour classifier that judges features without training anything (Wu et al. 2018).</summary>
public sealed record KnnOptions
{
    /// <summary>Neighbours that vote, 1 and above; no more than the bank holds. Default 200.</summary>
    public int K { get; init; } = 200;

    /// <summary>τ: a neighbour of similarity s votes with weight exp(s/τ). Range above 0, default 0.1.</summary>
    public double Temperature { get; init; } = 0.1;

    /// <summary>Everything that is wrong with these options; empty when nothing is.</summary>
    public IEnumerable<string> Problems()
    {
        if (K < 1)
            yield return $"evaluation.knn.k: {K} is below 1";
        if (!(Temperature > 0 && double.IsFinite(Temperature)))
            yield return $"evaluation.knn.temperature: {Temperature} is not a positive number";
    }
}

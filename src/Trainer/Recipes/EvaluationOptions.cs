using DarkMatter.Trainer.Evaluation;

namespace DarkMatter.Trainer.Recipes;

/// <summary>Section <c>evaluation</c>: how the encoder is judged after training. Labels are used for nothing else.</summary>
public sealed record EvaluationOptions
{
    /// <summary>Key <c>knn</c>: the classifier.</summary>
    public KnnOptions Knn { get; init; } = new();

    /// <summary>Key <c>bank</c>: labelled training images the neighbours come from; 0 for all. Default 0.</summary>
    public int Bank { get; init; }

    /// <summary>Key <c>queries</c>: evaluation images asked about; 0 for all. Default 0.</summary>
    public int Queries { get; init; }
}

namespace DarkMatter.Trainer.Methods;

/// <summary>A loss at which a method stands still that has learned nothing, or has collapsed.</summary>
/// <param name="Loss">Of the global batch.</param>
/// <param name="Meaning">Its formula, and what it says of the embeddings.</param>
public sealed record Plateau(double Loss, string Meaning);

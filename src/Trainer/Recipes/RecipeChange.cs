namespace DarkMatter.Trainer.Recipes;

/// <summary>One option that differs between two recipes.</summary>
/// <param name="Name">The option's full name, as <c>train.batch</c>.</param>
/// <param name="Old">Its value before; empty when it did not exist.</param>
/// <param name="New">Its value now; empty when it no longer exists.</param>
public sealed record RecipeChange(string Name, string Old, string New)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Name}: {(Old.Length == 0 ? "(absent)" : Old)} -> {(New.Length == 0 ? "(absent)" : New)}";
}

namespace DarkMatter.Grains.Tests;

public sealed class RecipeComparisonTests
{
    private const string Recipe = "name: demo\nviews:\n  - size: 28\n    flip: 0.5\n  - size: 14\ntrain:\n  batch: 64\n";

    [Fact]
    public void ChangedKeys_OfEqualRecipes_AreNone() => RecipeComparison.ChangedKeys(Recipe, Recipe).ShouldBeEmpty();

    [Theory]
    [InlineData("batch: 64", "batch: 32", "train.batch")]
    [InlineData("name: demo", "name: other", "name")]
    [InlineData("flip: 0.5", "flip: 0.4", "views.flip")]
    [InlineData("  batch: 64\n", "", "train.batch")]
    [InlineData("  batch: 64\n", "  batch: 64\n  epochs: 3\n", "train.epochs")]
    [InlineData("  - size: 14\n", "", "views.- size")]
    public void ChangedKeys_NamesThePath(string before, string after, string key) =>
        RecipeComparison.ChangedKeys(Recipe, Recipe.Replace(before, after, StringComparison.Ordinal)).ShouldBe([key]);
}

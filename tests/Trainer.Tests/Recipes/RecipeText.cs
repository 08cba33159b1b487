using DarkMatter.Trainer.Recipes;

namespace DarkMatter.Trainer.Tests.Recipes;

/// <summary>Small recipes for tests.</summary>
internal static class RecipeText
{
    public const string Minimal = "name: try\ndata:\n  dataset: images\n";

    public static ResolvedRecipe Parse(string yaml, params string[] sets) => ResolvedRecipe.Parse(yaml, "try.yaml", "/recipes", sets);

    public static RecipeException Fail(string yaml, params string[] sets) => Should.Throw<RecipeException>(() => Parse(yaml, sets));

    /// <summary>The message of the only problem, with its place.</summary>
    public static string OnlyProblem(string yaml, params string[] sets)
    {
        var problem = Fail(yaml, sets).Problems.ShouldHaveSingleItem();
        return $"{problem.Place.Line}:{problem.Place.Column} {problem.Message}";
    }
}

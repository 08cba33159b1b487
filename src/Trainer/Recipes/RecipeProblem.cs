using System.Globalization;
using System.Text;

namespace DarkMatter.Trainer.Recipes;

/// <summary>A place in a recipe file, or the command line when <see cref="Line"/> is 0. Lines and columns count from 1.</summary>
/// <param name="Line">Line in the file.</param>
/// <param name="Column">Column in the line.</param>
public readonly record struct RecipePlace(int Line, int Column)
{
    /// <summary>A value given with <c>--set</c>, not in the file.</summary>
    public static RecipePlace CommandLine => default;
}

/// <summary>One thing wrong with a recipe: where, and what to do about it.</summary>
/// <param name="Place">Where it stands.</param>
/// <param name="Key">The option's full name, as <c>train.batch</c>; empty when the file as a whole is at fault.</param>
/// <param name="Message">What is wrong and what would be right, without the place.</param>
public sealed record RecipeProblem(RecipePlace Place, string Key, string Message);

/// <summary>A recipe cannot be used. Carries every problem found, not only the first.</summary>
public sealed class RecipeException : Exception
{
    /// <summary>Describes <paramref name="problems"/> of <paramref name="source"/>, one a line.</summary>
    /// <param name="source">The file's path, as the user wrote it.</param>
    /// <param name="problems">At least one problem.</param>
    public RecipeException(string source, IReadOnlyList<RecipeProblem> problems)
        : base(Describe(source, problems))
    {
        Problems = problems;
    }

    /// <summary>The problems in the order of the file.</summary>
    public IReadOnlyList<RecipeProblem> Problems { get; }

    private static string Describe(string source, IReadOnlyList<RecipeProblem> problems)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{source}: {problems.Count} problem{(problems.Count == 1 ? "" : "s")} in the recipe");
        foreach (var problem in problems)
        {
            text.AppendLine();
            text.Append("  ");
            text.Append(problem.Place.Line == 0
                ? "--set"
                : string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(source)}:{problem.Place.Line}:{problem.Place.Column}"));
            text.Append(": ").Append(problem.Message);
        }
        return text.ToString();
    }
}

using System.CommandLine;
using DarkMatter.Trainer.Recipes;

namespace DarkMatter.Trainer.Commands;

/// <summary>The options that choose a recipe, alike in every command that takes one.</summary>
internal sealed class RecipeArguments
{
    /// <summary>The file.</summary>
    public Option<string> Recipe { get; } = new("--recipe", "-r")
    {
        Description = "The recipe file (YAML).",
        HelpName = "FILE",
    };

    /// <summary>Overrides.</summary>
    public Option<string[]> Set { get; } = new("--set", "-s")
    {
        Description = "Change an option of the recipe, as in --set train.batch=512 or --set 'views[0].size=32'. May be repeated.",
        HelpName = "KEY=VALUE",
        DefaultValueFactory = _ => [],
    };

    /// <summary>Adds both to a command.</summary>
    public void AddTo(Command command, bool required)
    {
        Recipe.Required = required;
        command.Add(Recipe);
        command.Add(Set);
    }

    /// <summary>Reads the recipe.</summary>
    /// <exception cref="RecipeException">Something is wrong with it.</exception>
    public ResolvedRecipe Load(ParseResult parsed, IEnumerable<string> more) =>
        ResolvedRecipe.Load(parsed.GetRequiredValue(Recipe), [.. parsed.GetValue(Set) ?? [], .. more]);
}

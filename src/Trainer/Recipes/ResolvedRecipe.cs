using System.Security.Cryptography;
using System.Text;

namespace DarkMatter.Trainer.Recipes;

/// <summary>
/// A recipe with every option present and checked. Its <see cref="Yaml"/> is canonical: equal options give equal bytes, and reading it back
/// gives the same recipe.
/// </summary>
public sealed class ResolvedRecipe
{
    private readonly SectionNode resolved;

    private ResolvedRecipe(Recipe recipe, SectionNode resolved)
    {
        Recipe = recipe;
        this.resolved = resolved;
        Yaml = RecipeYaml.Write(resolved);
        Digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Yaml)));
    }

    /// <summary>The options.</summary>
    public Recipe Recipe { get; }

    /// <summary>Every option in canonical order: UTF-8, LF, two spaces.</summary>
    public string Yaml { get; }

    /// <summary>SHA-256 of <see cref="Yaml"/> in lower-case hexadecimal.</summary>
    public string Digest { get; }

    /// <summary>Reads a recipe file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="sets">Changes as <c>train.batch=256</c>, in order; paths in them belong to the working folder.</param>
    /// <exception cref="RecipeException">The file is missing, or something is wrong with the recipe; every problem is named.</exception>
    public static ResolvedRecipe Load(string path, IEnumerable<string>? sets = null)
    {
        if (!File.Exists(path))
        {
            throw new RecipeException(path, [new RecipeProblem(new RecipePlace(1, 1), "", Missing(path))]);
        }
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        return Parse(File.ReadAllText(path), path, folder, sets);
    }

    /// <summary>Reads a recipe from text.</summary>
    /// <param name="yaml">The text.</param>
    /// <param name="source">What to call it in messages.</param>
    /// <param name="folder">Relative paths belong to this folder.</param>
    /// <param name="sets">Changes as <c>train.batch=256</c>, in order.</param>
    /// <exception cref="RecipeException">Something is wrong with the recipe; every problem is named.</exception>
    public static ResolvedRecipe Parse(string yaml, string source, string folder, IEnumerable<string>? sets = null)
    {
        var problems = new List<RecipeProblem>();
        var root = RecipeNodes.Parse(yaml, problems);
        if (problems.Count > 0)
        {
            throw new RecipeException(source, problems);
        }
        foreach (var assignment in sets ?? [])
        {
            RecipeNodes.Set(root, assignment, problems);
        }
        var reading = new RecipeReading(folder, problems);
        var top = new RecipeSection(reading, "", root);
        var recipe = RecipeSchema.Read(top, new Recipe());
        top.Close();
        reading.ReportUnknown();
        RecipeRules.Check(recipe, reading);
        if (problems.Count > 0)
        {
            throw new RecipeException(source, [.. problems
                .GroupBy(problem => problem.Key.Length == 0 ? problem.Message : problem.Key).Select(same => same.First())
                .OrderBy(problem => problem.Place.Line == 0 ? int.MaxValue : problem.Place.Line).ThenBy(problem => problem.Place.Column)]);
        }
        return new ResolvedRecipe(recipe, top.Resolved);
    }

    /// <summary>The options that differ from an older resolved recipe, in canonical order.</summary>
    /// <param name="older">Canonical YAML of the run as it was started.</param>
    public IReadOnlyList<RecipeChange> ChangesSince(string older)
    {
        var problems = new List<RecipeProblem>();
        var before = RecipeYaml.Flatten(RecipeNodes.Parse(older, problems)).ToDictionary(option => option.Name, option => option.Value);
        var now = RecipeYaml.Flatten(resolved).ToDictionary(option => option.Name, option => option.Value);
        return
        [
            .. now.Where(option => before.GetValueOrDefault(option.Key, "") != option.Value)
                .Select(option => new RecipeChange(option.Key, before.GetValueOrDefault(option.Key, ""), option.Value)),
            .. before.Where(option => !now.ContainsKey(option.Key)).Select(option => new RecipeChange(option.Key, option.Value, "")),
        ];
    }

    /// <summary>Those of <see cref="ChangesSince"/> that would change what the run computes, so that it cannot go on.</summary>
    /// <param name="older">Canonical YAML of the run as it was started.</param>
    public IReadOnlyList<RecipeChange> ChangesThatForbidResume(string older) =>
        [.. ChangesSince(older).Where(change => !RecipeSchema.MayChangeOnResume(change.Name))];

    private static string Missing(string path)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(folder))
        {
            return $"there is no folder {folder}; check the path given with --recipe";
        }
        string[] others = [.. Directory.EnumerateFiles(folder, "*.yaml").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];
        var nearest = NearestName.Find(Path.GetFileName(path), others);
        return "there is no such file" + (nearest is not null ? $"; did you mean {nearest}?" : others.Length > 0 ? $"; the folder has {string.Join(", ", others)}" : "");
    }
}

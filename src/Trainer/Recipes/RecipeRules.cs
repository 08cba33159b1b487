using System.Globalization;
using System.Text.RegularExpressions;

namespace DarkMatter.Trainer.Recipes;

/// <summary>What no single option can tell: how the options of a recipe fit together.</summary>
internal static partial class RecipeRules
{
    public static void Check(Recipe recipe, RecipeReading reading)
    {
        CheckName(recipe.Name, reading);
        if (recipe.Data.Dataset.Length == 0)
        {
            reading.ProblemWith("data.dataset", "data.dataset is missing; it is the folder of packed images, made by 'darkmatter pack' or from data.source");
        }
        CheckSource("data.source", recipe.Data.Source, reading);
        CheckSource("data.evaluation_source", recipe.Data.EvaluationSource, reading);
        CheckBatch(recipe, reading);
        CheckViews(recipe, reading);
        if (recipe.Local.Trainers > recipe.Data.Lanes)
        {
            reading.ProblemWith("local.trainers", Format($"local.trainers is {recipe.Local.Trainers}, but a run has at most one trainer per lane, and data.lanes is {recipe.Data.Lanes}"));
        }
        if (recipe.Local.MinTrainers > recipe.Local.Trainers)
        {
            reading.ProblemWith("local.min_trainers", Format($"local.min_trainers is {recipe.Local.MinTrainers}, more than local.trainers, which is {recipe.Local.Trainers}"));
        }
        if (recipe.Evaluation.Bank > 0 && recipe.Evaluation.Knn.K > recipe.Evaluation.Bank)
        {
            reading.ProblemWith("evaluation.knn.k", Format($"evaluation.knn.k is {recipe.Evaluation.Knn.K}, more neighbours than the {recipe.Evaluation.Bank} images of evaluation.bank"));
        }
        // The parts know more about themselves than the schema does; theirs begin with the key.
        foreach (var problem in recipe.Model.Problems().Concat(recipe.Method.Problems()).Concat(recipe.Optimizer.Problems()).Concat(recipe.Evaluation.Knn.Problems()).Concat(recipe.Checkpoints.Problems()))
        {
            reading.ProblemWith(problem.Split(':')[0], problem);
        }
    }

    private static void CheckName(string name, RecipeReading reading)
    {
        if (name.Length == 0)
        {
            reading.ProblemWith("name", "name is missing; it names the run, as in name: first-try");
        }
        else if (!IsRunName(name))
        {
            reading.ProblemWith("name", $"name is '{name}', but it is made of 1 to 100 letters, digits, '.', '_' and '-', and begins with a letter or digit: it becomes a folder's name");
        }
    }

    /// <summary>Whether a run can have this name.</summary>
    public static bool IsRunName(string name) => RunName().IsMatch(name);

    private static void CheckSource(string section, SourceOptions source, RecipeReading reading)
    {
        string[] given = [.. new[] { ("idx", source.Idx), ("folder", source.Folder), ("tars", source.Tars) }.Where(pair => pair.Item2.Length > 0).Select(pair => pair.Item1)];
        if (given.Length > 1)
        {
            reading.ProblemWith($"{section}.{given[1]}", $"{section} has {string.Join(" and ", given)}; a dataset comes from one of them, keep one");
        }
        if (source.IdxLabels.Length > 0 && source.Idx.Length == 0)
        {
            reading.ProblemWith($"{section}.idx_labels", $"{section}.idx_labels is given without {section}.idx, the images it labels");
        }
        if (source.Images > 0 && source.Tars.Length > 0)
        {
            reading.ProblemWith($"{section}.images", $"{section}.images is {source.Images}, but tars are indexed where they are, all of their images; leave it out, or pack them with 'darkmatter pack --tars … --reshard --images {source.Images}'");
        }
        if (source.LabelsFromFolders && source.Folder.Length == 0)
        {
            reading.ProblemWith($"{section}.labels_from_folders", $"{section}.labels_from_folders is true without {section}.folder");
        }
    }

    private static void CheckBatch(Recipe recipe, RecipeReading reading)
    {
        var (batch, lanes) = (recipe.Train.Batch, recipe.Data.Lanes);
        if (batch % lanes == 0)
        {
            return;
        }
        var below = batch / lanes * lanes;
        var multiples = below >= 2 ? Format($"{below} or {below + lanes}") : Format($"{lanes}");
        var divisors = Enumerable.Range(1, lanes).Where(lane => batch % lane == 0).ToArray();
        reading.ProblemWith("train.batch", Format(
            $"train.batch is {batch}, which {lanes} lanes (data.lanes) cannot share equally; set train.batch to {multiples}, or data.lanes to {divisors[^1]}"));
    }

    private static void CheckViews(Recipe recipe, RecipeReading reading)
    {
        if (recipe.Method.ViewProblem([.. recipe.AllViews.Select(view => view.Size)]) is { } problem)
        {
            reading.ProblemWith("views", problem);
        }
        else if (recipe.AllViews.Index().FirstOrDefault(view => view.Item.Grid != recipe.Method.GridOf(view.Index)) is { Item: { } odd } other)
        {
            reading.ProblemWith("views", Format($"view {other.Index + 1} of an image has grid: {odd.Grid}, but {recipe.Method.Name} needs {recipe.Method.GridOf(other.Index)} there"));
        }
        for (var i = 0; i < recipe.Views.Count; i++)
        {
            var view = recipe.Views[i].View;
            if (view.Size % view.Grid != 0)
            {
                reading.ProblemWith($"views[{i}].grid", Format($"views[{i}].grid is {view.Grid}, which does not divide the size, {view.Size}; {view.Size / view.Grid * view.Grid} would fit"));
            }
            if (view.Blur.KernelSize % 2 == 0)
            {
                reading.ProblemWith($"views[{i}].blur.kernel", Format($"views[{i}].blur.kernel is {view.Blur.KernelSize}, but it must be odd, as in {view.Blur.KernelSize + 1}"));
            }
            else if (view.Blur.Probability > 0 && view.Blur.KernelSize / 2 >= view.Size / view.Grid)
            {
                reading.ProblemWith($"views[{i}].blur.kernel", Format($"views[{i}].blur.kernel is {view.Blur.KernelSize}, but half of it must be less than {(view.Grid > 1 ? "a patch's size" : "the size")}, {view.Size / view.Grid}: the border is mirrored"));
            }
        }
    }

    private static string Format(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    [GeneratedRegex("^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", RegexOptions.CultureInvariant)]
    private static partial Regex RunName();
}

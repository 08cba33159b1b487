using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Commands.Reports;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter energy</c>: how compatible a trained method finds images.</summary>
internal static class EnergyCommand
{
    /// <summary>n images are n² pairs.</summary>
    private const int MostImages = 64;

    public static Command Create()
    {
        var recipe = new RecipeArguments();
        var weights = new Option<string>("--checkpoint", "-c", "--weights") { Description = "A checkpoint's folder, or a run's folder (its newest checkpoint).", HelpName = "PATH", Required = true };
        var images = new Argument<string[]>("images") { Description = "Images whose energies with each other are printed; two or more.", HelpName = "IMAGE", Arity = ArgumentArity.ZeroOrMore };
        var dataset = new Option<string?>("--dataset", "-d") { Description = "A packed dataset: energies of two views of one image against two images' are drawn.", HelpName = "DIR" };
        var samples = new Option<int>("--samples", "-n") { Description = "Images of the dataset.", HelpName = "N", DefaultValueFactory = _ => 1000 };
        var output = new Option<string>("--output", "-o") { Description = "The picture's file; ends in .svg.", HelpName = "FILE", DefaultValueFactory = _ => "energy.svg" };
        var json = new Option<bool>("--json") { Description = "Print the result as JSON." };
        var command = new Command("energy", """
            Prints how compatible a trained method finds images. Low energy: compatible. Give images, for the matrix of all pairs, or --dataset, for the
            energies of matching pairs (two views of one image) against others (views of two images), as a picture and a number: AUC, 1 when they are apart.
            """);
        recipe.AddTo(command, required: false);
        foreach (var option in new Option[] { weights, dataset, samples, output, json })
            command.Add(option);
        command.Add(images);
        command.Validators.Add(result =>
        {
            var (files, folder) = (result.GetValue(images) ?? [], result.GetValue(dataset));
            if ((files.Length > 0) == (folder is not null))
                result.AddError("give either images or --dataset");
            else if (files.Length is 1 or > MostImages)
                result.AddError($"{files.Length} image{(files.Length == 1 ? "" : "s")} given, but an energy is of a pair: give 2 to {MostImages}");
            if (result.GetResult(samples) is { Implicit: false } && result.GetValue(samples) < 2)
                result.AddError($"--samples is {result.GetValue(samples)}, but pairs that do not match need 2 images");
            if (result.GetValue(output) is { } path && !path.EndsWith(".svg", StringComparison.Ordinal))
                result.AddError($"--output is '{path}', but the picture's name ends in .svg");
        });
        command.SetAction(async (parsed, _) =>
        {
            using var interruption = new Interruption();
            var screen = Output.OfProcess();
            var (folder, picture) = (parsed.GetValue(dataset), parsed.GetRequiredValue(output));
            if (folder is not null)
                CheckPlace(picture);
            using var found = await TrainedWeights.FindAsync(parsed.GetRequiredValue(weights), screen.Line, interruption.Token);
            var options = found.Recipe(parsed.GetValue(recipe.Recipe), parsed.GetValue(recipe.Set) ?? []).Recipe;
            if (folder is null)
                Print(options, found.Files, parsed.GetValue(images)!, parsed.GetValue(json), screen, interruption.Token);
            else
                await DrawAsync(options, found.Files, folder, parsed.GetValue(samples), picture, parsed.GetValue(json), screen, interruption.Token);
            return ExitCode.Done;
        });
        return command;
    }

    private static EnergyModel Open(Recipe recipe, IReadOnlyList<string> files)
    {
        var setup = new MethodSetup(recipe.Model, new Normalization(TorchStack.Current, null), EnergyModel.Share(recipe.Train.Batch), [.. recipe.AllViews.Select(view => view.Size)]);
        var (mean, std) = (EncoderEvaluation.Floats(recipe.Data.Mean), EncoderEvaluation.Floats(recipe.Data.Std));
        return EnergyModel.Open(new EnergySetup(recipe.Method, setup, mean, std, recipe.Train.Precision == Precision.Float64), files, TorchStack.Current);
    }

    private static void Print(Recipe recipe, IReadOnlyList<string> weights, string[] files, bool json, Output screen, CancellationToken stop)
    {
        using var images = ImageFiles.Load(files, recipe.Views[0].View.Size);
        using var model = Open(recipe, weights);
        var progress = screen.Counter("energies: pairs", EnergyModel.Pairs(files.Length, model.IsSymmetric).Count());
        var matrix = new EnergyMatrix(recipe.Method.Name, model.IsSymmetric, files, model.Matrix(images, progress, stop));
        Console.WriteLine(json ? matrix.Json() : matrix.Text());
    }

    private static async Task DrawAsync(
        Recipe recipe, IReadOnlyList<string> weights, string folder, int samples, string picture, bool json, Output screen, CancellationToken stop)
    {
        using var model = Open(recipe, weights);
        var (matching, others) = await DatasetEnergies.MeasureAsync(model, recipe, folder, samples, screen, stop);
        var auc = Separation.Auc(matching, others);
        Writing(picture, () => File.WriteAllText(picture, EnergyChart.Svg(matching, others, string.Create(CultureInfo.InvariantCulture, $"{recipe.Method.Name}: AUC {auc:0.0000}"))));
        Console.WriteLine(json
            ? JsonSerializer.Serialize(new { method = recipe.Method.Name, auc, matching = matching.Average(), others = others.Average(), matching_pairs = matching.Count, other_pairs = others.Count, picture })
            : string.Create(CultureInfo.InvariantCulture, $"AUC {auc:0.0000}: {matching.Count:N0} matching pairs with energy {matching.Average():G4} in the mean, {others.Count:N0} others with {others.Average():G4}; {picture}"));
    }

    /// <summary>Finds out before the work whether its result can be written.</summary>
    private static void CheckPlace(string picture) => Writing(picture, () =>
    {
        var isNew = !File.Exists(picture);
        File.Open(picture, FileMode.OpenOrCreate, FileAccess.Write).Dispose();
        if (isNew)
            File.Delete(picture);
    });

    private static void Writing(string picture, Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandException(ExitCode.BadRequest, $"--output: {picture} cannot be written ({e.Message}); name a file in a folder that exists and may be written to", e);
        }
    }
}

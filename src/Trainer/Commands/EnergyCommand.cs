using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using DarkMatter.Data;
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
            using var found = await TrainedWeights.FindAsync(parsed.GetRequiredValue(weights), Output.OfProcess().Line, interruption.Token);
            var options = found.Recipe(parsed.GetValue(recipe.Recipe), parsed.GetValue(recipe.Set) ?? []).Recipe;
            using var model = EnergyModel.Open(Setup(options), found.Files, TorchStack.Current);
            if (parsed.GetValue(dataset) is { } folder)
                await DrawAsync(model, options, folder, parsed.GetValue(samples), parsed.GetRequiredValue(output), parsed.GetValue(json), interruption.Token);
            else
                Print(model, options, parsed.GetValue(images)!, parsed.GetValue(json));
            return ExitCode.Done;
        });
        return command;
    }

    private static EnergySetup Setup(Recipe recipe) => new(
        recipe.Method,
        new MethodSetup(recipe.Model, new Normalization(TorchStack.Current, null), EnergyModel.Share(recipe.Train.Batch), [.. recipe.AllViews.Select(view => view.Size)])
        {
            // A method that remembers every image needs to know how many there were.
            Images = Directory.Exists(recipe.Data.Dataset) ? Catalog.Load(recipe.Data.Dataset).SampleCount : 0,
        },
        EncoderEvaluation.Floats(recipe.Data.Mean), EncoderEvaluation.Floats(recipe.Data.Std), recipe.Train.Precision == Precision.Float64);

    private static void Print(EnergyModel model, Recipe recipe, string[] files, bool json)
    {
        using var images = ImageFiles.Load(files, recipe.Views[0].View.Size);
        var matrix = model.Matrix(images);
        var rows = Enumerable.Range(0, files.Length).Select(x => Enumerable.Range(0, files.Length).Select(y => matrix[x, y]).ToArray()).ToArray();
        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(new { method = recipe.Method.Name, images = files, energy = rows }));
            return;
        }

        var width = Math.Max(12, files.Max(file => Path.GetFileName(file).Length) + 2);
        Console.WriteLine($"{"",-4}{string.Concat(files.Select(file => Path.GetFileName(file).PadLeft(width)))}");
        foreach (var (x, row) in rows.Index())
            Console.WriteLine($"{x + 1,-4}{string.Concat(row.Select(energy => energy.ToString("0.000000", CultureInfo.InvariantCulture).PadLeft(width)))}  {Path.GetFileName(files[x])}");
    }

    private static async Task DrawAsync(EnergyModel model, Recipe recipe, string folder, int samples, string output, bool json, CancellationToken stop)
    {
        var (matching, others) = await DatasetEnergies.MeasureAsync(model, recipe, folder, samples, stop);
        var auc = Separation.Auc(matching, others);
        var title = string.Create(CultureInfo.InvariantCulture, $"{recipe.Method.Name}: AUC {auc:0.0000}");
        await File.WriteAllTextAsync(output, EnergyChart.Svg(matching, others, title), stop);
        Console.WriteLine(json
            ? JsonSerializer.Serialize(new { method = recipe.Method.Name, auc, matching = matching.Average(), others = others.Average(), matching_pairs = matching.Count, other_pairs = others.Count, picture = output })
            : string.Create(CultureInfo.InvariantCulture, $"AUC {auc:0.0000}: {matching.Count:N0} matching pairs with energy {matching.Average():0.0000} in the mean, {others.Count:N0} others with {others.Average():0.0000}; {output}"));
    }
}

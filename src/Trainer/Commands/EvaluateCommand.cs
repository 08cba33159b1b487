using System.CommandLine;
using System.Text.Json;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Commands.Reports;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter evaluate</c>: judges a checkpoint or an export by its nearest neighbours, and by a linear classifier.</summary>
internal static class EvaluateCommand
{
    public static Command Create()
    {
        var recipe = new RecipeArguments();
        var weights = new Option<string>("--weights", "-w")
        {
            Description = "A checkpoint's folder, a run's folder (its newest checkpoint), or an exported .safetensors.",
            HelpName = "PATH",
            Required = true,
        };
        var linear = new Option<bool>("--linear")
        {
            Description = "Also train a linear classifier on the features; its weight decay is chosen on a held-out sixth of the training images.",
        };
        var linearRawPixels = new Option<bool>("--linear-raw-pixels")
        {
            Description = "Also train a linear classifier on the raw pixels, to judge --linear by. Takes minutes for 60,000 gray images of 28×28, longer for color.",
        };
        var json = new Option<bool>("--json") { Description = "Print the result as JSON." };
        var command = new Command("evaluate", """
            Judges trained features: the class of each evaluation image is named by its nearest neighbours among the labelled training images; the
            same is done with raw pixels. With --linear, a linear classifier is trained on the features as well. Without --recipe, the recipe of the
            checkpoint is used.
            """);
        recipe.AddTo(command, required: false);
        command.Add(weights);
        command.Add(linear);
        command.Add(linearRawPixels);
        command.Add(json);
        command.SetAction(async (parsed, _) =>
        {
            using var interruption = new Interruption();
            var screen = Output.OfProcess();
            using var found = await TrainedWeights.FindAsync(parsed.GetRequiredValue(weights), screen.Line, interruption.Token);
            var options = found.Recipe(parsed.GetValue(recipe.Recipe), parsed.GetValue(recipe.Set) ?? []).Recipe;
            if (options.Data.Evaluation.Length == 0)
            {
                throw new CommandException(ExitCode.BadRequest, "data.evaluation is not set in the recipe: there is nothing to evaluate on. Give it with --set data.evaluation=DIR");
            }
            await Datasets.EnsureAsync("data.dataset", options.Data.Dataset, options.Data.Source, screen, interruption.Token);
            await Datasets.EnsureAsync("data.evaluation", options.Data.Evaluation, options.Data.EvaluationSource, screen, interruption.Token);
            var result = new EncoderEvaluation(options, screen).Run(found.Files, options.Data.Dataset, options.Data.Evaluation, limit: null, interruption.Token, parsed.GetValue(linear), parsed.GetValue(linearRawPixels));
            var numbers = new Dictionary<string, double>
            {
                ["knn"] = result.Accuracy,
                ["knn_raw_pixels"] = result.RawPixelAccuracy,
                ["knn_bank"] = result.Bank,
                ["knn_queries"] = result.Queries,
            };
            if (result.Linear is { } fitted)
            {
                (numbers["linear"], numbers["linear_held_out"], numbers["linear_weight_decay"]) = (fitted.Accuracy, fitted.HeldOutAccuracy, fitted.Decay);
            }
            if (result.LinearRawPixels is { } pixels)
            {
                numbers["linear_raw_pixels"] = pixels.Accuracy;
            }
            Console.WriteLine(parsed.GetValue(json)
                ? JsonSerializer.Serialize(numbers)
                : FormattableString.Invariant($"kNN accuracy {result.Accuracy * 100:0.00} %, raw pixels {result.RawPixelAccuracy * 100:0.00} % ({result.Queries:N0} queries, {result.Bank:N0} images to choose from)")
                    + (result.Linear is { } trained ? FormattableString.Invariant($"; linear accuracy {trained.Accuracy * 100:0.00} % (weight decay {trained.Decay:0e+0}, held-out {trained.HeldOutAccuracy * 100:0.00} %)") : "")
                    + (result.LinearRawPixels is { } raw ? FormattableString.Invariant($"; linear accuracy of raw pixels {raw.Accuracy * 100:0.00} %") : ""));
            return ExitCode.Done;
        });
        return command;
    }
}

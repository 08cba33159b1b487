using System.CommandLine;
using System.Globalization;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Commands.Reports;
using DarkMatter.Trainer.Recipes;
using Spectre.Console;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter pretrain</c>: a whole run on this machine.</summary>
internal static class PretrainCommand
{
    private const string Description = """
        Pretrains on this machine: packs the dataset if need be, starts a silo and trainers as processes, shows progress, evaluates, exports.

        The run lives in one folder: recipe.yaml, logs/, checkpoints/, steps.csv, encoder.safetensors, summary.json, report.html.
        """;

    public static Command Create()
    {
        var recipe = new RecipeArguments();
        var run = new Option<string?>("--run") { Description = "The run's name. Default: the recipe's name.", HelpName = "NAME" };
        var output = new Option<string?>("--output", "-o") { Description = "The run's folder. Default: runs/NAME.", HelpName = "DIR" };
        var trainers = new Option<int?>("--trainers", "-n") { Description = "Trainer processes. Default: local.trainers of the recipe.", HelpName = "N" };
        var resume = new Option<bool>("--resume") { Description = "Go on with the run in the folder, from its newest whole checkpoint. The recipe must be the same." };
        var overwrite = new Option<bool>("--overwrite") { Description = "Delete the run in the folder, if there is one, and start over." };
        var seconds = new Option<string?>("--seconds", "--budget")
        {
            Description = "Time for everything, packing and evaluation included: 60, 90s, 5m. The number of steps follows from the measured speed. Default: local.time of the recipe.",
            HelpName = "TIME",
        };
        var port = new Option<int>("--port") { Description = "The silo's port. Default: any free one.", HelpName = "PORT", DefaultValueFactory = _ => 0 };
        var noEvaluation = new Option<bool>("--no-evaluation") { Description = "Skip the nearest-neighbour evaluation." };
        var printConfig = new Option<bool>("--print-config") { Description = "Print the resolved recipe, every option included, and end." };
        var json = new Option<bool>("--json") { Description = "Print the summary as JSON on standard output; everything else goes to standard error." };
        var recordKeys = new Option<string?>("--record-keys") { Description = "Record the keys of each step's samples, one file per trainer, in this folder.", HelpName = "DIR" };

        var command = new Command("pretrain", Description);
        recipe.AddTo(command, required: true);
        foreach (var option in new Option[] { run, output, trainers, resume, overwrite, seconds, port, noEvaluation, printConfig, json, recordKeys })
        {
            command.Add(option);
        }
        command.Validators.Add(result =>
        {
            if (result.GetValue(resume) && result.GetValue(overwrite))
            {
                result.AddError("--resume goes on with a run and --overwrite deletes it; give one of them");
            }
            if (result.GetValue(port) is < 0 or > 65535)
            {
                result.AddError($"--port is {result.GetValue(port)}, but a port is 1 to 65535 (0: any free one)");
            }
            if (result.GetValue(seconds) is { } text && !TimeSpans.TryParse(text, out _))
            {
                result.AddError($"--seconds is '{text}', but it is a span of time such as 60, 90s or 5m");
            }
        });
        command.SetAction(async (parsed, _) =>
        {
            var more = new List<string>();
            if (parsed.GetValue(trainers) is { } count)
            {
                more.Add(string.Create(CultureInfo.InvariantCulture, $"local.trainers={count}"));
            }
            var resolved = recipe.Load(parsed, more);
            if (parsed.GetValue(printConfig))
            {
                await Console.Out.WriteAsync(resolved.Yaml);
                return ExitCode.Done;
            }
            var name = parsed.GetValue(run) ?? resolved.Recipe.Name;
            if (!RecipeRules.IsRunName(name))
            {
                throw new CommandException(ExitCode.BadRequest, $"--run is '{name}', but a name is 1 to 100 letters, digits, '.', '_' and '-', and begins with a letter or digit");
            }
            var request = new PretrainRequest
            {
                RecipePath = parsed.GetRequiredValue(recipe.Recipe),
                Run = name,
                Output = Path.GetFullPath(parsed.GetValue(output) ?? Path.Combine("runs", name)),
                Trainers = resolved.Recipe.Local.Trainers,
                Sets = parsed.GetValue(recipe.Set) ?? [],
                Resume = parsed.GetValue(resume),
                Overwrite = parsed.GetValue(overwrite),
                Time = parsed.GetValue(seconds) is { } text && TimeSpans.TryParse(text, out var time) ? time : null,
                Port = parsed.GetValue(port),
                Evaluate = !parsed.GetValue(noEvaluation),
                RecordKeys = parsed.GetValue(recordKeys) is { } folder ? Path.GetFullPath(folder) : null,
            };
            using var interruption = new Interruption();
            var summary = await new Pretraining(request, Output.OfProcess()).RunAsync(resolved, interruption.Token);
            if (parsed.GetValue(json))
            {
                await Console.Out.WriteAsync(summary.ToJson());
            }
            else
            {
                Print(summary);
            }
            return ExitCode.Done;
        });
        return command;
    }

    private static void Print(RunSummary summary)
    {
        var table = new Table { Border = TableBorder.Rounded, ShowHeaders = false, Title = new TableTitle(Markup.Escape(summary.Run)) };
        table.AddColumn("what").AddColumn("value");
        foreach (var (name, value) in HtmlReport.Facts(summary))
        {
            table.AddRow(new Text(name), new Text(value));
        }
        if (Console.IsOutputRedirected)
        {
            foreach (var (name, value) in HtmlReport.Facts(summary))
            {
                Console.WriteLine($"{name,-14} {value}");
            }
            return;
        }
        AnsiConsole.Write(table);
    }
}

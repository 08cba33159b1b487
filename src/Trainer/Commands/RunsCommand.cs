using System.CommandLine;
using System.Text.Json.Nodes;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Commands.Sessions;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter runs list|show</c>: what a silo or a folder of runs knows; the other commands change a run at a silo.</summary>
internal static class RunsCommand
{
    public static Command Create() => new("runs", "Creates runs, lists them, shows, pauses, resumes or stops one.")
    {
        RunsCreateCommand.Create(), List(), Show(), RunsControlCommands.Pause(), RunsControlCommands.Resume(), RunsControlCommands.Stop(),
    };

    /// <summary>The option of every command of runs that prints JSON on request.</summary>
    public static Option<bool> JsonOption() => new("--json") { Description = "Print JSON." };

    private static Option<string?> SiloOption() => new("--silo") { Description = "Ask this silo, as http://host:port.", HelpName = "URL" };

    private static Option<string> FolderOption() => new("--folder")
    {
        Description = "Without --silo: the folder that has the runs. Default: runs.",
        HelpName = "DIR",
        DefaultValueFactory = _ => "runs",
    };

    private static Command List()
    {
        var (silo, root, json) = (SiloOption(), FolderOption(), JsonOption());
        var list = new Command("list", "Lists the runs.") { silo, root, json };
        list.SetAction(async (parsed, _) =>
        {
            List<RunRow> rows = parsed.GetValue(silo) is { } url
                ? [.. (await SiloCall.AskAsync(url, (client, deadline) => client.ListRunsAsync(new ListRunsRequest(), deadline: deadline))).Runs.Select(run => new RunRow(run))]
                : [.. Folders(parsed.GetRequiredValue(root)).Select(Describe)];
            if (parsed.GetValue(json))
            {
                Console.WriteLine(new JsonArray([.. rows.Select(row => row.ToJson())]).ToJsonString());
                return ExitCode.Done;
            }
            rows.ForEach(row => Console.WriteLine(row.ToText()));
            return ExitCode.Done;
        });
        return list;
    }

    private static Command Show()
    {
        var (silo, root, json) = (SiloOption(), FolderOption(), JsonOption());
        var name = new Argument<string>("name") { Description = "The run's name, or its folder." };
        var show = new Command("show", "Shows one run.") { silo, root, json, name };
        show.SetAction(async (parsed, cancellation) =>
        {
            var run = parsed.GetRequiredValue(name);
            if (parsed.GetValue(silo) is { } url)
            {
                var status = await SiloCall.AskAsync(url, (client, deadline) => client.GetRunAsync(new GetRunRequest { Run = run }, deadline: deadline));
                RunText.Print(status, parsed.GetValue(json), Console.Out);
                return ExitCode.Done;
            }
            return await ShowFolderAsync(run, parsed.GetRequiredValue(root), parsed.GetValue(json), cancellation);
        });
        return show;
    }

    private static async Task<int> ShowFolderAsync(string run, string root, bool json, CancellationToken cancellation)
    {
        var folder = Directory.Exists(run) ? run : Path.Combine(root, run);
        if (!File.Exists(Path.Combine(folder, "recipe.yaml")))
        {
            var nearest = Recipes.NearestName.Find(run, Folders(root).Select(path => Path.GetFileName(path)));
            throw new CommandException(ExitCode.BadRequest, $"there is no run in {Path.GetFullPath(folder)}" + (nearest is null ? "; 'darkmatter runs list' shows those there are" : $"; did you mean {nearest}?"));
        }
        var row = Describe(folder);
        var file = Path.Combine(folder, "summary.json");
        var summary = File.Exists(file) ? await File.ReadAllTextAsync(file, cancellation) : null;
        if (json)
        {
            var shown = row.ToJson();
            shown["checkpoints"] = new JsonArray([.. CheckpointFolder.All(folder).Select(checkpoint => (JsonNode)checkpoint.Step)]);
            shown["summary"] = summary is null ? null : JsonNode.Parse(summary);
            Console.WriteLine(shown.ToJsonString());
            return ExitCode.Done;
        }
        Console.WriteLine(row.ToText());
        foreach (var (step, path) in CheckpointFolder.All(folder))
        {
            Console.WriteLine($"  checkpoint {step}  {path}");
        }
        if (summary is not null)
        {
            Console.WriteLine(summary);
        }
        return ExitCode.Done;
    }

    private static IEnumerable<string> Folders(string root) => Directory.Exists(root)
        ? Directory.EnumerateDirectories(root).Where(folder => File.Exists(Path.Combine(folder, "recipe.yaml"))).Order(StringComparer.Ordinal)
        : [];

    private static RunRow Describe(string folder)
    {
        var checkpoints = CheckpointFolder.All(folder);
        var steps = Path.Combine(folder, "steps.csv");
        var last = File.Exists(steps) ? StepLog.Read(steps).LastOrDefault() : null;
        var state = File.Exists(Path.Combine(folder, "summary.json")) ? "completed" : "not finished";
        return new RunRow(Path.GetFileName(Path.GetFullPath(folder)), state, last?.Step ?? 0, 0, checkpoints.Count > 0 ? checkpoints[^1].Step : 0, last?.Loss ?? 0);
    }
}

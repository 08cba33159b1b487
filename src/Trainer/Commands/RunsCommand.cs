using System.CommandLine;
using System.Globalization;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Commands.Sessions;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter runs list</c> and <c>runs show</c>: what a silo or a folder of runs knows.</summary>
internal static class RunsCommand
{
    public static Command Create()
    {
        var silo = new Option<string?>("--silo") { Description = "Ask this silo, as http://host:port.", HelpName = "URL" };
        var root = new Option<string>("--folder") { Description = "Without --silo: the folder that has the runs. Default: runs.", HelpName = "DIR", DefaultValueFactory = _ => "runs" };
        var name = new Argument<string>("name") { Description = "The run's name, or its folder." };

        var list = new Command("list", "Lists the runs.") { silo, root };
        list.SetAction(async (parsed, _) =>
        {
            if (parsed.GetValue(silo) is { } url)
            {
                var reply = await SiloCall.AskAsync(url, (client, deadline) => client.ListRunsAsync(new ListRunsRequest(), deadline: deadline));
                foreach (var run in reply.Runs)
                {
                    Console.WriteLine(Row(run.Run, run.State.ToString(), run.Step, run.TotalSteps, run.CheckpointStep, run.Loss));
                }
                return ExitCode.Done;
            }
            foreach (var folder in Folders(parsed.GetRequiredValue(root)))
            {
                Console.WriteLine(Describe(folder));
            }
            return ExitCode.Done;
        });

        var show = new Command("show", "Shows one run.") { silo, root, name };
        show.SetAction(async (parsed, cancellation) =>
        {
            var run = parsed.GetRequiredValue(name);
            if (parsed.GetValue(silo) is { } url)
            {
                var status = await SiloCall.AskAsync(url, (client, deadline) => client.GetRunAsync(new GetRunRequest { Run = run }, deadline: deadline));
                Console.WriteLine(Row(status.Run, status.State.ToString(), status.Step, status.TotalSteps, status.CheckpointStep, status.Loss));
                if (status.Reason.Length > 0)
                {
                    Console.WriteLine($"  {status.Reason}");
                }
                foreach (var member in status.Members)
                {
                    Console.WriteLine($"  rank {member.Rank}  {member.Name}  process {member.ProcessId}  {member.Address}  step {member.Step}  {(member.Alive ? "alive" : "gone")}");
                }
                return ExitCode.Done;
            }
            var folder = Directory.Exists(run) ? run : Path.Combine(parsed.GetRequiredValue(root), run);
            if (!File.Exists(Path.Combine(folder, "recipe.yaml")))
            {
                var nearest = Recipes.NearestName.Find(run, Folders(parsed.GetRequiredValue(root)).Select(path => Path.GetFileName(path)));
                throw new CommandException(ExitCode.BadRequest, $"there is no run in {Path.GetFullPath(folder)}" + (nearest is null ? "; 'darkmatter runs list' shows those there are" : $"; did you mean {nearest}?"));
            }
            Console.WriteLine(Describe(folder));
            foreach (var (step, path) in CheckpointFolder.All(folder))
            {
                Console.WriteLine($"  checkpoint {step}  {path}");
            }
            var summary = Path.Combine(folder, "summary.json");
            if (File.Exists(summary))
            {
                Console.WriteLine(await File.ReadAllTextAsync(summary, cancellation));
            }
            return ExitCode.Done;
        });

        return new Command("runs", "Creates runs, lists them, or shows one.") { RunsCreateCommand.Create(), list, show };
    }

    private static IEnumerable<string> Folders(string root) => Directory.Exists(root)
        ? Directory.EnumerateDirectories(root).Where(folder => File.Exists(Path.Combine(folder, "recipe.yaml"))).Order(StringComparer.Ordinal)
        : [];

    private static string Describe(string folder)
    {
        var checkpoints = CheckpointFolder.All(folder);
        var steps = Path.Combine(folder, "steps.csv");
        var last = File.Exists(steps) ? StepLog.Read(steps).LastOrDefault() : null;
        var state = File.Exists(Path.Combine(folder, "summary.json")) ? "completed" : "not finished";
        return Row(Path.GetFileName(Path.GetFullPath(folder)), state, last?.Step ?? 0, 0, checkpoints.Count > 0 ? checkpoints[^1].Step : 0, last?.Loss ?? 0);
    }

    private static string Row(string name, string state, long step, long total, long checkpoint, double loss) => string.Create(CultureInfo.InvariantCulture,
        $"{name,-32} {state.ToLowerInvariant(),-12} step {step}{(total > 0 ? $"/{total}" : "")}  loss {loss:0.0000}  checkpoint {checkpoint}");
}

using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Commands.Local;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter checkpoints list</c> and <c>verify</c>: what a run can go on from, wherever it lies.</summary>
internal static class CheckpointsCommand
{
    public static Command Create()
    {
        var silo = new Option<string?>("--silo") { Description = "Ask this silo where the run's checkpoints lie, as http://host:port.", HelpName = "URL" };
        var root = new Option<string>("--folder") { Description = "Without --silo: the folder that has the runs. Default: runs.", HelpName = "DIR", DefaultValueFactory = _ => "runs" };
        var json = new Option<bool>("--json") { Description = "Print JSON." };
        var step = new Option<long?>("--step") { Description = "Only the checkpoint of this step.", HelpName = "N" };
        var name = new Argument<string>("run") { Description = "The run's name, or its folder." };

        var list = new Command("list", "Lists the checkpoints of a run, oldest first, without reading their files.") { name, silo, root, json };
        list.SetAction((parsed, _) => WithStoreAsync(parsed.GetRequiredValue(name), parsed.GetRequiredValue(root), parsed.GetValue(silo), async (store, stop) =>
        {
            var rows = new List<Row>();
            foreach (var entry in await store.ListAsync(stop))
            {
                rows.Add(await Row.ReadAsync(entry, () => store.ReadManifestAsync(entry.Step, stop)));
            }
            Print(rows, parsed.GetValue(json), "unread", store.Location);
            return ExitCode.Done;
        }));

        var verify = new Command("verify", """
            Reads every file of a run's checkpoints and compares lengths and SHA-256 with the manifest.
            Exit codes: 0 all are whole, 1 some are broken, 2 bad request.
            """) { name, silo, root, step, json };
        verify.SetAction((parsed, _) => WithStoreAsync(parsed.GetRequiredValue(name), parsed.GetRequiredValue(root), parsed.GetValue(silo), async (store, stop) =>
        {
            var screen = Output.OfProcess();
            var rows = new List<Row>();
            var entries = (await store.ListAsync(stop)).Where(entry => parsed.GetValue(step) is not { } only || only == entry.Step).ToList();
            if (parsed.GetValue(step) is { } wanted && entries.Count == 0)
            {
                throw new CommandException(ExitCode.BadRequest, $"there is no checkpoint of step {wanted} in {store.Location}; 'darkmatter checkpoints list' shows those there are");
            }
            foreach (var entry in entries)
            {
                screen.Progress(() => $"verify: step {entry.Step}, {rows.Count} of {entries.Count} done");
                rows.Add(await Row.ReadAsync(entry, () => store.VerifyAsync(entry.Step, stop)));
            }
            screen.Progress(() => $"verify: {rows.Count} checkpoints read", final: true);
            Print(rows, parsed.GetValue(json), "whole", store.Location);
            return rows.TrueForAll(row => row.Problem is null) ? ExitCode.Done : ExitCode.Failed;
        }));

        return new Command("checkpoints", "Lists a run's checkpoints, or verifies them.") { list, verify };
    }

    private static async Task<int> WithStoreAsync(string run, string root, string? silo, Func<CheckpointStore, CancellationToken, Task<int>> work)
    {
        using var interruption = new Interruption();
        using var store = await RunStore.OpenAsync(run, root, silo);
        return await work(store, interruption.Token);
    }

    private static void Print(List<Row> rows, bool json, string good, string location)
    {
        if (json)
        {
            Console.WriteLine(new JsonArray([.. rows.Select(row => row.ToJson(good))]).ToJsonString());
            return;
        }
        if (rows.Count == 0)
        {
            Console.WriteLine($"no checkpoints in {location}");
        }
        foreach (var row in rows)
        {
            Console.WriteLine(row.ToText(good));
        }
    }

    /// <summary>One checkpoint, or why it cannot be read.</summary>
    private sealed record Row(CheckpointEntry Entry, CheckpointManifest? Manifest, string? Problem)
    {
        public static async Task<Row> ReadAsync(CheckpointEntry entry, Func<Task<CheckpointManifest>> read)
        {
            try
            {
                return new Row(entry, await read(), Problem: null);
            }
            catch (CheckpointException e)
            {
                return new Row(entry, Manifest: null, e.Message);
            }
        }

        public string ToText(string good) => Manifest is { } manifest
            ? string.Create(CultureInfo.InvariantCulture,
                $"step {Entry.Step,-9} {manifest.Bytes / 1e6,9:0.0} MB  {manifest.World} part{(manifest.World == 1 ? " " : "s")}  generation {manifest.Generation,-4} {(good == "unread" ? "" : good + "  ")}{Entry.Path}")
            : $"step {Entry.Step,-9} BROKEN  {Problem}";

        public JsonObject ToJson(string good) => new()
        {
            ["step"] = Entry.Step,
            ["path"] = Entry.Path,
            ["state"] = Problem is null ? good : "broken",
            ["problem"] = Problem,
            ["bytes"] = Manifest?.Bytes,
            ["parts"] = Manifest?.World,
            ["generation"] = Manifest?.Generation,
            ["total_steps"] = Manifest?.Progress.TotalSteps,
        };
    }
}

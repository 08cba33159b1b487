using System.CommandLine;
using System.Text.Json;
using DarkMatter.Data;
using DarkMatter.Grains;
using DarkMatter.Protocol;
using DarkMatter.Silo;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Commands.Reports;
using DarkMatter.Trainer.Recipes;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter audit</c>: proves from a run's ledger that every image of each finished epoch was committed exactly once.</summary>
internal static class AuditCommand
{
    private const string Description = """
        Proves that no image was lost or used twice. Reads the run's ledger, recomputes the order of images, compares the digests that the trainers
        reported of the images they used, and counts every image of every finished epoch. Also while the run trains.

          darkmatter audit demo                              of runs/demo
          darkmatter audit artifacts/demo                    of a run's folder
          darkmatter audit demo --silo http://10.0.0.5:7400  of a silo
        Exit codes: 0 proven, 1 not proven (the output says why), 2 bad request, 4 the silo does not answer.
        """;

    public static Command Create()
    {
        var silo = new Option<string?>("--silo") { Description = "Ask this silo, as http://host:port.", HelpName = "URL" };
        var root = new Option<string>("--folder") { Description = "Without --silo: the folder that has the runs. Default: runs.", HelpName = "DIR", DefaultValueFactory = _ => "runs" };
        var dataset = new Option<string?>("--dataset") { Description = "The run's dataset on this machine. Default: where the run found it.", HelpName = "DIR" };
        var json = new Option<bool>("--json") { Description = "Print the report as JSON." };
        var name = new Argument<string>("run") { Description = "The run's name, or its folder." };
        var command = new Command("audit", Description) { name, silo, root, dataset, json };
        command.SetAction(async (parsed, _) =>
        {
            using var interruption = new Interruption();
            var run = parsed.GetRequiredValue(name);
            var ledger = parsed.GetValue(silo) is { } url
                ? ToLedger(await SiloCall.AskAsync(url, (client, deadline) => client.GetLedgerAsync(new GetRunRequest { Run = run }, deadline: deadline)))
                : Stored(run, parsed.GetRequiredValue(root));
            var catalog = CatalogOf(ledger, parsed.GetValue(dataset));
            var recipe = ResolvedRecipe.Parse(ledger.RecipeYaml, $"the recipe of run '{ledger.Run}'", Environment.CurrentDirectory).Recipe;
            var order = new SampleOrder(recipe.Seed, catalog.ShardCounts, recipe.Data.Lanes, recipe.Data.Block);
            var screen = Output.OfProcess();
            var report = Audit.Check(ledger, order, steps => screen.Progress(() => $"audit: {steps:N0} steps recomputed"), interruption.Token);
            var text = new AuditText(ledger.Run, report, catalog);
            Console.Write(parsed.GetValue(json) ? JsonSerializer.Serialize(text.ToJson()) + "\n" : text.ToString());
            return report.Verdict == AuditVerdict.Proven ? ExitCode.Done : ExitCode.Failed;
        });
        return command;
    }

    /// <summary>The ledger as it came over the wire.</summary>
    internal static RunLedger ToLedger(Ledger wire) => new()
    {
        Run = wire.Run,
        State = (Grains.RunState)(int)wire.State,
        Step = wire.Step,
        TotalSteps = wire.TotalSteps,
        Batch = wire.Batch,
        Lanes = wire.Lanes,
        Dataset = wire.Dataset,
        DatasetDigest = wire.DatasetDigest,
        RecipeYaml = wire.RecipeYaml,
        Generations =
        [
            .. wire.Generations.Select(g => new GenerationRecord
            {
                Number = g.Number,
                StartStep = g.StartStep,
                CommittedStep = g.CommittedStep,
                DigestStep = g.DigestStep,
                SamplesDigest = g.SamplesDigest,
                Trainers = [.. g.Trainers],
                Lanes = g.Lanes,
                Reason = g.Reason,
                Began = g.Began,
                Source = g.Source,
                StateHash = g.StateHash,
                BeganAt = DateTimeOffset.FromUnixTimeMilliseconds(g.BeganUnixMs),
                Healed = [.. g.Healed],
                Parent = g.Parent,
            }),
        ],
        Quarantined = [.. wire.Quarantined.Select(q => new BrokenSample { Shard = q.Shard, Index = q.Index, Key = q.Key, Reason = q.Reason })],
    };

    private static RunLedger Stored(string run, string root)
    {
        var folder = Path.GetFullPath(Directory.Exists(run) ? run : Path.Combine(root, run));
        var state = Path.Combine(folder, RunFolder.SiloStateName);
        try
        {
            // The folder of a local run has one run, whose name may not be the folder's.
            if (StoredLedger.Runs(state) is [var stored] && StoredLedger.Read(state, stored) is { } ledger)
            {
                return ledger;
            }
        }
        catch (InvalidDataException e)
        {
            throw new CommandException(ExitCode.BadRequest, e.Message, e);
        }
        throw new CommandException(
            ExitCode.BadRequest,
            Directory.Exists(folder)
                ? $"{folder}: no ledger of a run lies there; give the folder of a run, or the address of its silo with --silo"
                : $"there is no run in {folder}; 'darkmatter runs list' shows those there are, --folder names where to look, --silo asks a silo");
    }

    private static Catalog CatalogOf(RunLedger ledger, string? given)
    {
        var dataset = given ?? ledger.Dataset;
        var catalog = Catalog.Load(dataset);
        return ledger.DatasetDigest.Length == 0 || catalog.Digest == ledger.DatasetDigest
            ? catalog
            : throw new CommandException(
                ExitCode.BadRequest,
                $"the dataset {dataset} is not the one that run '{ledger.Run}' trained on: its catalog has digest {catalog.Digest}, the run's has {ledger.DatasetDigest}. "
                + "Name the right one with --dataset");
    }
}

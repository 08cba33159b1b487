using System.Text.Json;
using DarkMatter.Data;
using DarkMatter.Grains;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Commands;
using DarkMatter.Trainer.Commands.Reports;

namespace DarkMatter.Trainer.Tests.Commands;

public sealed class AuditTextTests
{
    private static readonly Catalog Shards = Catalog.Create([new ShardEntry("a-000.tar", 10, 1, 1), new ShardEntry("a-001.tar", 10, 1, 2)]);

    private static readonly AuditReport Whole = new()
    {
        Verdict = AuditVerdict.Proven,
        CommittedSteps = 1234,
        FinishedEpochs = 2,
        ImagesPerEpoch = 20,
        Generations = 1,
        DigestsChecked = 1,
    };

    [Fact]
    public void Text_Proven_SaysWhatItRestsOn() => new AuditText("demo", Whole, Shards).ToString().ShouldBe("""
        run demo: proven
          1,234 steps committed in 1 generation, 1 digest of the images used recomputed
          2 finished epochs of 20 images: every image was committed exactly once

        """);

    [Fact]
    public void Text_Broken_NamesEverything()
    {
        var text = new AuditText("demo", Whole with
        {
            Verdict = AuditVerdict.Broken,
            RolledBack = [new StepRange(3, 5, 9)],
            Unproven = [new StepRange(4, 9, 11)],
            Problems = ["it lies"],
            MissingImages = 5,
            Missing = [new EpochImage(1, new SampleAddress(1, 7))],
            Quarantined = [new BrokenSample { Shard = 0, Index = 3, Key = "cat-3", Reason = "cut off" }, new BrokenSample { Shard = 9, Key = "?" }],
        }, Shards);
        foreach (var line in new[]
        {
            "run demo: BROKEN: the ledger contradicts itself, or images are missing",
            "2 finished epochs of 20 images: 5 images were not committed",
            "rolled back: steps 5 to 9 of generation 3 were lost with every trainer that had them, and trained again",
            "unproven: nobody reported which images generation 4 used in steps 9 to 11",
            "problem: it lies",
            "missing: sample 7 of a-001.tar in epoch 1",
            "missing: 4 more",
            "quarantined: cat-3 (sample 3 of a-000.tar) was never used: cut off; the next sound one of its shard stood in for it",
            "quarantined: ? (sample 0 of shard 9, which the catalog does not have)",
        })
        {
            text.ToString().ShouldContain(line);
        }
        using var json = JsonDocument.Parse(JsonSerializer.Serialize(text.ToJson()));
        json.RootElement.GetProperty("verdict").GetString().ShouldBe("broken");
        json.RootElement.GetProperty("rolled_back_steps").GetInt64().ShouldBe(4);
        json.RootElement.GetProperty("missing")[0].GetProperty("shard").GetString().ShouldBe("a-001.tar");
    }

    [Fact]
    public void Text_NoFinishedEpoch_SaysSo() =>
        new AuditText("demo", Whole with { FinishedEpochs = 0 }, Shards).ToString().ShouldContain("  no epoch of 20 images is finished yet\n");

    [Fact]
    public void Ledger_OverTheWire_LosesNothing()
    {
        var wire = new Ledger
        {
            Run = "demo",
            State = Protocol.RunState.Training,
            Step = 9,
            TotalSteps = 20,
            Batch = 8,
            Lanes = 4,
            Dataset = "/data",
            DatasetDigest = "abc",
            RecipeYaml = "name: x",
            Generations =
            {
                new LedgerGeneration
                {
                    Number = 3, StartStep = 5, CommittedStep = 9, DigestStep = 8, SamplesDigest = ulong.MaxValue, Trainers = { "a", "b" }, Lanes = 4, Reason = "r",
                    Began = true, Source = "fresh", StateHash = "ff", BeganUnixMs = 1_000, Healed = { 1 }, Parent = 2,
                },
            },
            Quarantined = { new Protocol.QuarantinedSample { Shard = 1, Index = 2, Key = "k", Reason = "why" } },
        };
        var ledger = AuditCommand.ToLedger(wire);
        ledger.ShouldBe(new RunLedger
        {
            Run = "demo",
            State = Grains.RunState.Training,
            Step = 9,
            TotalSteps = 20,
            Batch = 8,
            Lanes = 4,
            Dataset = "/data",
            DatasetDigest = "abc",
            RecipeYaml = "name: x",
            Generations = ledger.Generations,
            Quarantined = ledger.Quarantined,
        });
        var generation = ledger.Generations.ShouldHaveSingleItem();
        generation.ShouldBe(new GenerationRecord
        {
            Number = 3,
            StartStep = 5,
            CommittedStep = 9,
            DigestStep = 8,
            SamplesDigest = ulong.MaxValue,
            Trainers = generation.Trainers,
            Lanes = 4,
            Reason = "r",
            Began = true,
            Source = "fresh",
            StateHash = "ff",
            BeganAt = DateTimeOffset.UnixEpoch.AddSeconds(1),
            Healed = generation.Healed,
            Parent = 2,
        });
        generation.Trainers.ShouldBe(["a", "b"]);
        generation.Healed.ShouldBe([1]);
        ledger.Quarantined.ShouldBe([new BrokenSample { Shard = 1, Index = 2, Key = "k", Reason = "why" }]);
    }
}

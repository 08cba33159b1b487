using System.Text.Json.Nodes;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Tests.Training;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Checkpoints;

[Collection(TorchCollection.Name)]
public sealed class CheckpointTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("checkpoints").FullName;
    private readonly TrainOptions _options;

    public CheckpointTests() =>
        _options = TrainingRunTests.Options with { RunDirectory = _folder, CheckpointEvery = 10, HashEvery = 1, Recipe = "name: test\n", Retention = new(10) };

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 3)]
    public void Resume_AtTheSameWorldSize_ContinuesBitForBit(int world, int seed)
    {
        var options = _options with { Seed = seed, TotalSteps = 30 };
        var whole = Train(options, world);
        Directory.Delete(Path.Combine(_folder, "checkpoints", "30"), recursive: true);
        var rest = Train(options with { ResumeFrom = Path.Combine(_folder, "checkpoints", "10") }, world);
        rest.Steps.Select(s => s.Step).ShouldBe(Enumerable.Range(11, 20).Select(i => (long)i));
        rest.Steps.Select(s => (s.Step, s.Loss, s.StateHash, s.LearningRate, string.Join(' ', s.Keys)))
            .ShouldBe(whole.Steps.Skip(10).Select(s => (s.Step, s.Loss, s.StateHash, s.LearningRate, string.Join(' ', s.Keys))));
    }

    [Fact]
    public void Resume_AtAnotherWorldSize_GoesOnWithTheSameLosses()
    {
        var whole = Train(_options, world: 1);
        var rest = Train(_options with { ResumeFrom = Path.Combine(_folder, "checkpoints", "10") }, world: 2);
        foreach (var (step, reference) in rest.Steps.Zip(whole.Steps.Skip(10)).Take(2))
            step.Loss.ShouldBe(reference.Loss, 1e-4 * reference.Loss);
    }

    [Fact]
    public void Save_EveryTenSteps_PublishesWholeFoldersAndKeepsTheNewest()
    {
        var session = Train(_options with { TotalSteps = 45, Retention = new(2) }, world: 1);
        session.Checkpoints.Select(c => c.Step).ShouldBe([10, 20, 30, 40, 45]);
        CheckpointFolder.All(_folder).Select(c => c.Step).ShouldBe([40, 45]);
        Directory.GetFileSystemEntries(Path.Combine(_folder, "checkpoints")).Length.ShouldBe(2, "nothing unfinished stays");

        var latest = CheckpointFolder.Latest(_folder).ShouldNotBeNull();
        var manifest = CheckpointFolder.Verify(latest);
        manifest.Files.Select(f => f.Name).ShouldBe(["model.safetensors", "optimizer.safetensors", "recipe.yaml"]);
        (manifest.Format, manifest.Generation, manifest.World).ShouldBe((2, 1, 1));
        manifest.Progress.Step.ShouldBe(45);
        manifest.Progress.LanePositions.ShouldBe(Enumerable.Repeat(90L, 6));
        File.ReadAllText(Path.Combine(latest, "recipe.yaml")).ShouldBe("name: test\n");
        System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(Path.Combine(latest, "manifest.json")))
            .ShouldBe(session.Checkpoints[^1].ManifestSha256.ToArray());
        using var model = SafetensorsReader.Open(Path.Combine(latest, "model.safetensors"));
        model.Contains("backbone.layer4.0.downsample.1.running_var").ShouldBeTrue();
        model["backbone.bn1.num_batches_tracked"].Type.ShouldBe(SafetensorsType.Int64);
    }

    [Fact]
    public void Save_WhereNothingCanBeWritten_SaysWhereAndWhat()
    {
        var file = Path.Combine(_folder, "file");
        File.WriteAllText(file, "");
        Should.Throw<CheckpointException>(() => Train(_options with { RunDirectory = file }, world: 1))
            .Message.ShouldContain("checkpoint of step 20 could not be written to");
    }

    [Fact]
    public void Complete_PublishingFailed_ThrowsOnceWithTheCauseAndGoesOn()
    {
        var fail = true;
        var notes = new List<string>();
        using var writer = new CheckpointWriter(
            CheckpointFolder.Store(_folder),
            new SoloCheckpoints((_, _) => fail ? throw new TimeoutException("the silo is gone") : Task.CompletedTask),
            new CheckpointWriterOptions { Note = notes.Add }, new TensorSet([]), new TensorSet([]));
        writer.Save(Attempts.Progress(1)).ShouldBeTrue();
        Should.Throw<CheckpointException>(writer.Complete).Message.ShouldContain("the silo is gone");
        notes.ShouldHaveSingleItem().ShouldContain("checkpoint of step 1");
        writer.Complete();
        fail = false;
        writer.Save(Attempts.Progress(2)).ShouldBeTrue();
        writer.Complete();
        CheckpointFolder.All(_folder).Select(c => c.Step).ShouldBe([1, 2], "what was written stays, published or not");
    }

    [Theory]
    [InlineData("missing manifest", "manifest.json is missing")]
    [InlineData("broken manifest", "manifest.json is damaged")]
    [InlineData("manifest without step", "manifest.json is damaged")]
    [InlineData("newer format", "it has format 99 and this program reads up to 2")]
    [InlineData("outside name", "'../x', which is not a plain file name")]
    [InlineData("missing file", "model.safetensors is missing")]
    [InlineData("missing entry", "its manifest does not list model.safetensors")]
    [InlineData("truncated file", "bytes instead of")]
    [InlineData("flipped bit", "its SHA-256 differs")]
    [InlineData("no folder", "there is no such folder")]
    public void Verify_DamagedCheckpoint_NamesTheDamage(string damage, string message)
    {
        Train(_options with { TotalSteps = 2 }, world: 1);
        var path = CheckpointFolder.Latest(_folder)!;
        Damage(path, damage);
        var thrown = Should.Throw<CheckpointException>(() => CheckpointFolder.Verify(path));
        thrown.Message.ShouldContain(message);
        thrown.Message.ShouldContain(path);
        Should.Throw<CheckpointException>(() => Train(_options with { ResumeFrom = path }, world: 1));
    }

    [Fact]
    public void Resume_FromAFolderOfFormat1_GoesOn()
    {
        var whole = Train(_options, world: 1);
        var path = Path.Combine(_folder, "checkpoints", "10");
        var json = JsonNode.Parse(File.ReadAllText(Path.Combine(path, "manifest.json")))!.AsObject();
        json["format"] = 1;
        json.Remove("generation").ShouldBeTrue();
        json.Remove("world").ShouldBeTrue();
        File.WriteAllText(Path.Combine(path, "manifest.json"), json.ToJsonString());
        var rest = Train(_options with { ResumeFrom = path, RunDirectory = null }, world: 1);
        rest.Steps.Select(s => s.Loss).ShouldBe(whole.Steps.Skip(10).Select(s => s.Loss));
    }

    [Fact]
    public void Resume_WithAnotherModel_NamesTheDifferences()
    {
        Train(_options with { TotalSteps = 2 }, world: 1);
        var wider = _options with { ResumeFrom = CheckpointFolder.Latest(_folder), Model = ((ResNetOptions)_options.Model) with { Width = 16 } };
        Should.Throw<CheckpointException>(() => Train(wider, world: 1)).Message
            .ShouldContain("'backbone.conv1.weight' is F32 [8, 3, 3, 3] instead of F32 [16, 3, 3, 3]");
    }

    [Fact]
    public void Resume_WithAnotherBatch_SaysWhyNot()
    {
        Train(_options with { TotalSteps = 2 }, world: 1);
        Should.Throw<CheckpointException>(() => Train(_options with { ResumeFrom = CheckpointFolder.Latest(_folder), GlobalBatch = 24 }, world: 1))
            .Message.ShouldContain("batch 12 and 6 lanes, and the recipe has 24 and 6");
    }

    [Fact]
    public void All_FolderLeftByACrash_IsNotACheckpoint()
    {
        Train(_options with { TotalSteps = 2 }, world: 1);
        Directory.CreateDirectory(Path.Combine(_folder, "checkpoints", ".7.abc.tmp"));
        Directory.CreateDirectory(Path.Combine(_folder, "checkpoints", "9"));
        CheckpointFolder.All(_folder).Select(c => c.Step).ShouldBe([2]);
    }

    private static RecordedSession Train(TrainOptions options, int world)
    {
        var sessions = new RecordedSession[world];
        if (world == 1)
            TrainingRunTests.Run(options, new SingleRank(1), sessions[0] = new RecordedSession());
        else
            ThreadRanks.Run(world, ranks => TrainingRunTests.Run(TrainingRunTests.Share(options, ranks), ranks, sessions[ranks.Rank] = new RecordedSession()));
        return sessions[0];
    }

    private static void Damage(string path, string damage)
    {
        var (manifest, model) = (Path.Combine(path, "manifest.json"), Path.Combine(path, "model.safetensors"));
        var json = JsonNode.Parse(File.ReadAllText(manifest))!;
        switch (damage)
        {
            case "missing manifest": File.Delete(manifest); return;
            case "broken manifest": File.WriteAllText(manifest, "{"); return;
            case "manifest without step": json["progress"]!.AsObject().Remove("step"); break;
            case "newer format": json["format"] = 99; break;
            case "outside name": json["files"]![0]!["name"] = "../x"; break;
            case "missing entry": json["files"]!.AsArray().RemoveAt(0); break;
            case "missing file": File.Delete(model); return;
            case "no folder": Directory.Delete(path, recursive: true); return;
            default:
                var bytes = File.ReadAllBytes(model);
                bytes[^5] ^= 1;
                File.WriteAllBytes(model, damage == "truncated file" ? bytes[..^1] : bytes);
                return;
        }

        File.WriteAllText(manifest, json.ToJsonString());
    }
}

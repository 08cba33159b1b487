using System.Globalization;
using DarkMatter.EndToEnd.Tests;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Tests.Checkpoints;

namespace DarkMatter.Faults;

/// <summary>Rows of the failure table that happen to where checkpoints lie: training goes on, and what is published is whole.</summary>
public sealed class StoreFaultTests(Workshop workshop)
{
    [Fact]
    public async Task BlobStoreHangsAndIsKilled_TrainingGoesOn_AndCheckpointsComeAgain()
    {
        await using var azurite = await Azurite.StartAsync();
        await using var cluster = new Cluster(workshop, "blobs") { Before = _ => $"env AZURE_STORAGE_CONNECTION_STRING='{azurite.ConnectionString}' " };
        await cluster.StartAsync(2, "--set", "checkpoints.store=azure", "--set", "checkpoints.container=faults", "--set", "train.checkpoint_every=10");
        var before = await cluster.UntilAsync(status => status.CheckpointStep > 0, "a checkpoint");

        azurite.Signal("STOP");
        var slow = await cluster.UntilStepAsync(before.Step + 50);
        slow.CheckpointStep.ShouldBeLessThan(slow.Step - 20, "nothing can be published");
        azurite.Signal("CONT");
        var back = await cluster.UntilAsync(status => status.CheckpointStep > slow.CheckpointStep, "a checkpoint after the pause");

        azurite.Kill();
        var away = await cluster.UntilStepAsync(back.Step + 50);
        await azurite.StartAgainAsync();
        var again = await cluster.UntilAsync(status => status.CheckpointStep > away.Step, "a checkpoint after the restart");
        again.Generation.ShouldBe(before.Generation, "no trainer was lost over it");
        await cluster.ShouldBeProvenWithoutRollbackAsync();
    }

    [Fact]
    public async Task DiskFull_SaysSo_TheOlderCheckpointIsUsed_AndNewOnesComeOnceThereIsRoom()
    {
        await using var cluster = new Cluster(workshop, "full");
        using var disk = Tmpfs.TryMount(Directory.CreateDirectory(Path.Combine(cluster.Folder, "checkpoints")).FullName, bytes: 4 << 20);
        Assert.SkipWhen(disk is null, "a file system cannot be mounted here");
        await cluster.BeginAsync(2, "--set", "train.checkpoint_every=10", "--set", "checkpoints.keep_last=100");
        bool Said(string what) => cluster.Trainers.Values.Any(trainer => trainer.Output.Contains(what, StringComparison.Ordinal));
        var full = await cluster.UntilAsync(_ => Said("No space left on device"), "a full disk");
        Said("Free space or choose another place; older checkpoints are untouched.").ShouldBeTrue();
        var before = await cluster.UntilStepAsync(full.Step + 20);
        before.CheckpointStep.ShouldBeGreaterThan(0);
        await ShouldAllBeWholeAsync(cluster, newest: before.CheckpointStep);

        await KillTrainersAsync(cluster);
        RestartTrainers(cluster);
        var resumed = await cluster.UntilTrainsAsync(2, before.Generation, before.CheckpointStep);
        (await SourcesAsync(cluster)).ShouldContain($"checkpoint {before.CheckpointStep}");

        disk!.Grow(64 << 20);
        var roomy = await cluster.UntilAsync(status => status.CheckpointStep > resumed.Step, "a checkpoint once there is room");
        await cluster.ShouldBeProvenAsync();
        await ShouldAllBeWholeAsync(cluster, atLeast: roomy.CheckpointStep);
    }

    [Fact]
    public async Task CheckpointPartDamaged_ResumeSaysSo_AndTakesTheOlderOne()
    {
        await using var cluster = new Cluster(workshop, "part");
        await cluster.StartAsync(2, "--set", "train.checkpoint_every=10", "--set", "checkpoints.keep_last=100");
        var before = await cluster.UntilAsync(status => status.CheckpointStep >= 20, "two checkpoints");
        await KillTrainersAsync(cluster);
        var newest = (await cluster.StatusAsync()).CheckpointStep;
        var part = Directory.GetFiles(Path.Combine(cluster.Folder, "checkpoints", newest.ToString(CultureInfo.InvariantCulture)), "model*")[0];
        var bytes = await File.ReadAllBytesAsync(part);
        bytes[^1] ^= 1;
        await File.WriteAllBytesAsync(part, bytes);

        RestartTrainers(cluster);
        await cluster.UntilTrainsAsync(2, before.Generation, newest);
        (await SourcesAsync(cluster)).ShouldContain($"checkpoint {newest - 10}");
        var told = string.Concat(cluster.Trainers.Values.Select(trainer => trainer.Output));
        told.ShouldContain($"{Path.GetFileName(part)} is not what was written: its SHA-256 differs from the manifest's");
        told.ShouldContain("an older checkpoint is used");
        await cluster.ShouldBeProvenAsync();
    }

    [Fact]
    public async Task RecipeChangedOnResume_IsRefused_AndTheKeysAreNamed()
    {
        await using var cluster = new Cluster(workshop, "recipe");
        await cluster.StartAsync(1);
        await cluster.UntilAsync(status => status.CheckpointStep > 0, "a checkpoint");
        await cluster.ShouldBeProvenAsync();
        var refused = (await cluster.CreateAsync("--resume", "--set", "optimizer.lr=0.5", "--set", "model.width=16")).ShouldEndWith(2);
        refused.ShouldSay($"the recipe of run '{cluster.Run}' differs from the one it began with in model.width");
        refused.ShouldSay("optimizer.lr");
        (await cluster.CreateAsync("--resume")).ShouldEndWith(0);
    }

    /// <summary>Where the states came from that generations began with.</summary>
    private static async Task<IEnumerable<string>> SourcesAsync(Cluster cluster) => (await cluster.LedgerAsync()).Generations.Select(generation => generation.Source);

    private static async Task KillTrainersAsync(Cluster cluster)
    {
        foreach (var trainer in cluster.Trainers.Values)
            trainer.Signal("KILL");
        foreach (var trainer in cluster.Trainers.Values)
            await trainer.FinishAsync();
        await cluster.UntilAsync(status => status.State == RunState.Waiting, "a run that waits");
    }

    private static void RestartTrainers(Cluster cluster)
    {
        foreach (var name in cluster.Trainers.Keys.ToList())
            cluster.StartTrainer(name);
    }

    /// <summary>Every checkpoint that can be seen can be used.</summary>
    private static async Task ShouldAllBeWholeAsync(Cluster cluster, long? newest = null, long atLeast = 0)
    {
        using var store = CheckpointFolder.Store(cluster.Folder);
        var all = await store.ListAsync(TestContext.Current.CancellationToken);
        foreach (var checkpoint in all)
            await store.VerifyAsync(checkpoint.Step, TestContext.Current.CancellationToken);
        all[^1].Step.ShouldBeGreaterThanOrEqualTo(newest ?? atLeast);
        if (newest is { } known)
            all[^1].Step.ShouldBe(known);
    }
}

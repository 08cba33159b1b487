using DarkMatter.EndToEnd.Tests;
using DarkMatter.Protocol;

namespace DarkMatter.Faults;

/// <summary>Rows of the failure table that happen to processes: each run goes on, and its ledger proves that no image was lost or used twice.</summary>
public sealed class ProcessFaultTests(Workshop workshop)
{
    [Fact]
    public async Task TrainerKilled_OthersGoOn_AndItsSuccessorHeals()
    {
        await using var cluster = new Cluster(workshop, "killed");
        await cluster.StartAsync(3);
        var before = await cluster.StatusAsync();
        cluster.Trainers["trainer-1"].Signal("KILL");
        var after = await cluster.UntilTrainsAsync(2, before.Generation, before.Step);
        after.RolledBack.ShouldBe(0);
        cluster.Trainers["trainer-0"].Error.ShouldNotContain("Unhandled");

        cluster.StartTrainer("trainer-1");
        await cluster.UntilTrainsAsync(3, after.Generation, after.Step);
        await cluster.ShouldBeProvenWithoutRollbackAsync();
    }

    [Fact]
    public async Task TrainerHangs_OthersGoOn_AndItComesBackWhenItMoves()
    {
        await using var cluster = new Cluster(workshop, "hung");
        await cluster.StartAsync(3);
        var before = await cluster.StatusAsync();
        cluster.Trainers["trainer-0"].Signal("STOP");
        var without = await cluster.UntilTrainsAsync(2, before.Generation, before.Step);
        without.Members.ShouldNotContain(member => member.Name == "trainer-0" && member.Rank >= 0);

        cluster.Trainers["trainer-0"].Signal("CONT");
        await cluster.UntilTrainsAsync(3, without.Generation, without.Step);
        await cluster.ShouldBeProvenWithoutRollbackAsync();
    }

    [Fact]
    public async Task ZombieReturns_ToATakenPlace_ItsWordDoesNotCount_ItWaitsAsASpare_AndHeals()
    {
        await using var cluster = new Cluster(workshop, "zombie");
        await cluster.StartAsync(2, "--max-trainers", "2");
        var before = await cluster.StatusAsync();
        var zombie = cluster.Trainers["trainer-1"];
        zombie.Signal("STOP");
        var without = await cluster.UntilTrainsAsync(1, before.Generation, before.Step);
        cluster.StartTrainer("trainer-2");
        var replaced = await cluster.UntilTrainsAsync(2, without.Generation, without.Step);

        zombie.Signal("CONT");
        await zombie.UntilAsync(() => zombie.Output.Contains("lost its place", StringComparison.Ordinal), "the zombie hears of it");
        var waits = await cluster.UntilAsync(status => status.Members.Any(member => member.Name == "trainer-1" && member.Spare), "the zombie as a spare");
        waits.Generation.ShouldBe(replaced.Generation, "nobody is disturbed by it");

        cluster.Trainers["trainer-2"].Signal("KILL");
        var healed = await cluster.UntilTrainsAsync(2, replaced.Generation, waits.Step);
        var last = (await cluster.LedgerAsync()).Generations.Single(generation => generation.Number == healed.Generation);
        last.Healed.Select(rank => last.Trainers[rank]).ShouldBe(["trainer-1"]);
        await cluster.ShouldBeProvenWithoutRollbackAsync();
    }

    [Fact]
    public async Task SiloKilledAndRestarted_TrainersTrainOn_AndKeepTheirPlaces()
    {
        await using var cluster = new Cluster(workshop, "silo");
        await cluster.StartAsync(2);
        var before = await cluster.StatusAsync();
        cluster.Silo.Signal("KILL");
        await cluster.Silo.FinishAsync();
        var made = cluster.StepsLogged();
        await cluster.Trainers["trainer-0"].UntilAsync(() => cluster.StepsLogged() >= made + 10, "ten steps without a silo");
        await cluster.StartSiloAsync();
        (await cluster.UntilStepAsync(before.Step + 20)).Generation.ShouldBe(before.Generation);
        await cluster.ShouldBeProvenWithoutRollbackAsync();
    }

    [Fact]
    public async Task TrainerDrained_HandsOverAndEndsByItself()
    {
        await using var cluster = new Cluster(workshop, "drained");
        await cluster.StartAsync(3);
        var before = await cluster.StatusAsync();
        var drained = cluster.Trainers["trainer-0"];
        drained.Signal("TERM");
        (await drained.FinishAsync()).ShouldEndWith(6);
        await cluster.UntilTrainsAsync(2, before.Generation, before.Step);
        await cluster.ShouldBeProvenWithoutRollbackAsync();
    }

    [Fact]
    public async Task TwoTrainersWithOneName_TheSecondIsTurnedAway()
    {
        await using var cluster = new Cluster(workshop, "names");
        await cluster.StartAsync(2);
        var before = await cluster.StatusAsync();
        var first = cluster.Trainers["trainer-1"];
        var second = cluster.StartTrainer("trainer-1");
        (await second.FinishAsync()).ShouldEndWith(2).ShouldSay("has a trainer trainer-1 already");
        cluster.Trainers["trainer-1"] = first;
        (await cluster.UntilStepAsync(before.Step + 10)).Generation.ShouldBe(before.Generation);
        await cluster.ShouldBeProvenAsync();
    }

    [Fact]
    public async Task EveryTrainerKilled_NewOnesGoOnFromTheCheckpoint()
    {
        await using var cluster = new Cluster(workshop, "all");
        await cluster.StartAsync(2);
        var before = await cluster.UntilAsync(status => status.CheckpointStep > 0, "a checkpoint");
        foreach (var trainer in cluster.Trainers.Values)
            trainer.Signal("KILL");
        await cluster.UntilAsync(status => status.State == RunState.Waiting, "a run that waits");
        cluster.StartTrainer("trainer-0");
        cluster.StartTrainer("trainer-1");
        await cluster.UntilTrainsAsync(2, before.Generation, before.Step);
        await cluster.ShouldBeProvenAsync();
    }
}

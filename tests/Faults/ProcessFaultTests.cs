using DarkMatter.EndToEnd.Tests;
using DarkMatter.Protocol;

namespace DarkMatter.Faults;

/// <summary>Rows of the failure table that happen to processes: each run goes on, and its ledger proves that no image was lost or used twice.</summary>
public sealed class ProcessFaultTests(Workshop workshop)
{
    [Fact]
    public async Task TrainerKilled_OthersGoOn_AndItsSuccessorHeals()
    {
        await using var cluster = await Cluster.StartAsync(workshop, "killed", 3);
        var before = await cluster.StatusAsync();
        cluster.Trainers["trainer-1"].Signal("KILL");
        var after = await cluster.UntilTrainsAsync(2, before.Generation, before.Step);
        after.RolledBack.ShouldBe(0);
        cluster.Trainers["trainer-0"].Error.ShouldNotContain("Unhandled");

        cluster.StartTrainer("trainer-1");
        await cluster.UntilTrainsAsync(3, after.Generation, after.Step);
        (await cluster.ShouldBeProvenAsync()).GetProperty("rolled_back_steps").GetInt64().ShouldBe(0);
    }

    [Fact]
    public async Task TrainerHangs_OthersGoOn_AndTheZombieComesBackAsANewcomer()
    {
        await using var cluster = await Cluster.StartAsync(workshop, "hung", 3);
        var before = await cluster.StatusAsync();
        cluster.Trainers["trainer-0"].Signal("STOP");
        var without = await cluster.UntilTrainsAsync(2, before.Generation, before.Step);
        without.Members.ShouldNotContain(member => member.Name == "trainer-0" && member.Rank >= 0);

        cluster.Trainers["trainer-0"].Signal("CONT");
        await cluster.UntilTrainsAsync(3, without.Generation, without.Step);
        (await cluster.ShouldBeProvenAsync()).GetProperty("rolled_back_steps").GetInt64().ShouldBe(0);
    }

    [Fact]
    public async Task SiloKilledAndRestarted_TrainersTrainOn_AndKeepTheirPlaces()
    {
        await using var cluster = await Cluster.StartAsync(workshop, "silo", 2);
        var before = await cluster.StatusAsync();
        cluster.Silo.Signal("KILL");
        await cluster.Silo.FinishAsync();
        await cluster.StartSiloAsync();
        var after = await cluster.UntilAsync(status => status.Step > before.Step + 20, "20 more steps");
        after.Generation.ShouldBe(before.Generation);
        (await cluster.ShouldBeProvenAsync()).GetProperty("rolled_back_steps").GetInt64().ShouldBe(0);
    }

    [Fact]
    public async Task TrainerDrained_HandsOverAndEndsByItself()
    {
        await using var cluster = await Cluster.StartAsync(workshop, "drained", 3);
        var before = await cluster.StatusAsync();
        var drained = cluster.Trainers["trainer-0"];
        drained.Signal("TERM");
        (await drained.FinishAsync()).ShouldEndWith(6);
        await cluster.UntilTrainsAsync(2, before.Generation, before.Step);
        (await cluster.ShouldBeProvenAsync()).GetProperty("rolled_back_steps").GetInt64().ShouldBe(0);
    }

    [Fact]
    public async Task TwoTrainersWithOneName_TheSecondIsTurnedAway()
    {
        await using var cluster = await Cluster.StartAsync(workshop, "names", 2);
        var before = await cluster.StatusAsync();
        var first = cluster.Trainers["trainer-1"];
        var second = cluster.StartTrainer("trainer-1");
        var finished = await second.FinishAsync();
        finished.Code.ShouldBe(2, finished.Story);
        finished.ShouldSay("has a trainer trainer-1 already");
        cluster.Trainers["trainer-1"] = first;
        (await cluster.UntilAsync(status => status.Step > before.Step + 10, "more steps")).Generation.ShouldBe(before.Generation);
        await cluster.ShouldBeProvenAsync();
    }

    [Fact]
    public async Task EveryTrainerKilled_NewOnesGoOnFromTheCheckpoint()
    {
        await using var cluster = await Cluster.StartAsync(workshop, "all", 2);
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

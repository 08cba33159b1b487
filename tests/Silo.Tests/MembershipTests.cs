using DarkMatter.Protocol;
using Grpc.Core;

namespace DarkMatter.Silo.Tests;

/// <summary>Trainers that come, go, hang, are cut off, drain and pause.</summary>
public sealed class MembershipTests : SiloTest
{
    private async Task ApplyAll(FakeTrainer[] trainers, long step, ulong digest = 0)
    {
        await trainers[0].Applied(step, digest: digest);
        foreach (var trainer in trainers.Skip(1))
        {
            await trainer.Applied(step);
        }

        await Until(s => s.Step == step);
    }

    private Task<Ledger> Ledger() => Client.GetLedgerAsync(new GetRunRequest { Run = "demo" }).ResponseAsync;

    [Fact]
    public async Task KilledTrainer_TheOthersGoOnAtOnce_AndTheLedgerProvesTheirSteps()
    {
        var trainers = await Begin(world: 3);
        await ApplyAll(trainers, 7, digest: 70);
        await trainers[2].Die();
        foreach (var trainer in trainers[..2])
        {
            var next = await trainer.Assignment();
            (next.Generation, next.World, next.AtOnce).ShouldBe((2, 2, true));
            next.Reason.ShouldContain("trainer-2 (rank 2, pid 4002) was lost at step 7: its session broke");
        }

        // The state is one step further than anybody could report.
        await trainers[0].Began(8, "memory of generation 1", stateGeneration: 1, stateDigest: 80);
        await trainers[0].Applied(9, digest: 90);
        await trainers[1].Applied(9);
        var status = await Until(s => s.Step == 9);
        status.State.ShouldBe(RunState.Training);
        status.Notice.ShouldStartWith("trainer-2 (rank 2, pid 4002) was lost");
        var ledger = await Ledger();
        ledger.Generations.Select(g => (g.Number, g.StartStep, g.CommittedStep, g.DigestStep, g.SamplesDigest, g.Source)).ShouldBe(
        [
            (1, 0, 8, 8, 80ul, "fresh"),
            (2, 8, 9, 9, 90ul, "memory of generation 1"),
        ]);
        ledger.Generations[1].StateHash.ShouldBe("0102");
        ledger.Generations[1].Trainers.ShouldBe(["trainer-0", "trainer-1"]);
        (ledger.Step, ledger.Batch, ledger.Lanes, ledger.State).ShouldBe((9, 10, 5, RunState.Training));
    }

    [Fact]
    public async Task HungTrainer_IsReplaced_IsFencedWhenItWakes_AndComesBackAsANewcomer()
    {
        var trainers = await Begin();
        var wake = await trainers[1].Hang();
        var alone = await trainers[0].Assignment();
        (alone.Generation, alone.World).ShouldBe((2, 1));
        alone.Reason.ShouldContain("trainer-1 (rank 1, pid 4001) was lost at step 0: nothing was heard from it for 3");
        await trainers[0].Began(0);
        (await trainers[1].Ended()).StatusCode.ShouldBe(StatusCode.Aborted);
        wake();

        var zombie = Track(await trainers[1].Rejoin(Grpc));
        (await zombie.Ended()).ShouldBe(new Status(
            StatusCode.Aborted,
            "trainer-1 comes from generation 1 of run 'demo', but has no place in generation 2: it leaves its generation and joins anew"));
        var again = Track(await trainers[1].Rejoin(Grpc, evicted: true));
        var next = await again.Assignment();
        (next.Generation, next.Rank, next.AtOnce).ShouldBe((3, 1, false));
    }

    [Fact]
    public async Task Newcomer_JoinsAtAStepBoundary_TheStepUnderWayMayBeReportedLate()
    {
        var trainers = await Begin(world: 1);
        await trainers[0].Applied(5);
        var newcomer = await Join(1);
        (await newcomer.Assignment()).Generation.ShouldBe(2);
        await trainers[0].Applied(6); // of generation 1: it had not heard of the next
        var next = await trainers[0].Assignment();
        (next.AtOnce, next.Rank, next.World).ShouldBe((false, 0, 2));
        await trainers[0].Began(6, "memory of generation 1", stateGeneration: 1, stateDigest: 60, healed: 1);
        await ApplyAll([trainers[0], newcomer], 7);
        var ledger = await Ledger();
        ledger.Generations.Select(g => (g.StartStep, g.CommittedStep, g.SamplesDigest)).ShouldBe([(0, 6, 60ul), (6, 7, 0ul)]);
        ledger.Generations[1].Healed.ShouldBe([1]);
    }

    [Fact]
    public async Task MoreThanTheLargestWorld_WaitAsSpares_AndTakeALostPlace()
    {
        var trainers = await Begin(world: 1, maxWorld: 1);
        var spare = await Join(1);
        var status = await Until(s => s.Members.Count == 2);
        status.Members[1].Spare.ShouldBeTrue();
        status.Members[1].Rank.ShouldBe(-1);
        await trainers[0].Die();
        (await spare.Assignment()).Generation.ShouldBe(2);
    }

    [Fact]
    public async Task AccusedTrainer_IsBenched_AndStandsBy()
    {
        var trainers = await Begin(world: 3);
        await trainers[0].Accuse(1, "connection reset");
        var next = await trainers[2].Assignment();
        next.Peers.Select(p => p.Name).ShouldBe(["trainer-0", "trainer-2"]);
        var standby = (await trainers[1].Next(SiloMessage.KindOneofCase.Standby)).Standby;
        standby.AtOnce.ShouldBeTrue();
        standby.Reason.ShouldContain("trainer-1 (rank 1, pid 4001) could not be reached by trainer-0 (rank 0, pid 4000)");
        (await Until(s => s.Members.Count == 3 && s.Generation == 2)).Members[2].Name.ShouldBe("trainer-1");
    }

    [Fact]
    public async Task TrainerThatLeftItsGenerationWithoutAWord_GetsTheNext()
    {
        var trainers = await Begin();
        await trainers[1].Applied(1);
        await trainers[1].Ready("its loader broke");
        var next = await trainers[1].Assignment();
        (next.Generation, next.World).ShouldBe((2, 2));
        next.Reason.ShouldContain("trainer-1 (rank 1, pid 4001) could not go on at step 1: its loader broke. 2 trainers go on");
    }

    [Fact]
    public async Task DifferentStateHash_HealsInANewGenerationOfTheSameTrainers()
    {
        var trainers = await Begin();
        await trainers[0].Applied(50, [1, 2]);
        await trainers[1].Applied(50, [1, 3]);
        var next = await trainers[0].Assignment();
        (next.Generation, next.World, next.AtOnce).ShouldBe((2, 2, true));
        next.Reason.ShouldContain("differ after step 50: rank 0 has 0102 but rank 1 has 0103");
    }

    [Fact]
    public async Task BelowTheLeastWorld_TheOthersStandBy_AndGoOnWhenOneComes()
    {
        var trainers = await Begin(minWorld: 2);
        await ApplyAll(trainers, 3);
        await trainers[1].Leave(failed: true, reason: "out of memory");
        var waiting = await Until(s => s.State == RunState.Waiting);
        waiting.Reason.ShouldBe("waits for 1 more trainer (1 of 2 ready): trainer-1 (rank 1, pid 4001) failed at step 3: out of memory.");
        (await trainers[0].Next(SiloMessage.KindOneofCase.Standby)).Standby.AtOnce.ShouldBeTrue();
        (await trainers[1].Ended()).StatusCode.ShouldBe(StatusCode.OK);
        await Join(2);
        var next = await trainers[0].Assignment();
        (next.Generation, next.Rank, next.World).ShouldBe((2, 0, 2));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task StoppedOrDrained_WhileItWaits_TheHolderOfTheStateSavesItFirst(bool drain)
    {
        var trainers = await Begin(minWorld: 2);
        await ApplyAll(trainers, 3, digest: 30);
        await trainers[1].Die();
        await Until(s => s.State == RunState.Waiting);
        await (drain ? trainers[0].Drain() : Client.StopRunAsync(new StopRunRequest { Run = "demo", Reason = "asked by a test" }).ResponseAsync);
        var save = await trainers[0].Assignment();
        (save.Generation, save.World, save.SaveOnly, save.AtOnce).ShouldBe((2, 1, true, true));
        await trainers[0].Began(3, "memory of generation 1", stateGeneration: 1, stateDigest: 30);
        await Client.PublishCheckpointAsync(Checkpoint(3, generation: 2));
        await trainers[0].Ready("a checkpoint was taken");
        if (drain)
        {
            (await trainers[0].Next(SiloMessage.KindOneofCase.Release)).Release.NextGeneration.ShouldBe(0);
            await Until(s => s.State == RunState.Waiting);
        }
        else
        {
            (await trainers[0].Next(SiloMessage.KindOneofCase.Stop)).Stop.Over.ShouldBeTrue();
            (await Until(s => s.State == RunState.Stopped)).Reason.ShouldStartWith("Asked by a test at step 3.");
        }
    }

    [Fact]
    public async Task DrainingTrainer_IsReleasedWhenTheOthersGoOn_TheLastOneWithNobodyNext()
    {
        var trainers = await Begin();
        await trainers[0].Drain();
        (await trainers[1].Assignment()).AtOnce.ShouldBeFalse();
        (await trainers[0].Next(SiloMessage.KindOneofCase.Release)).Release.NextGeneration.ShouldBe(2);
        await trainers[0].Applied(1);
        await trainers[0].Leave(reason: "drained");
        (await trainers[0].Ended()).StatusCode.ShouldBe(StatusCode.OK);
        await trainers[1].Began(1, "memory of generation 1", stateGeneration: 1);
        await Until(s => s.Step == 1 && s.Members.Count == 1);

        await trainers[1].Drain();
        (await trainers[1].Next(SiloMessage.KindOneofCase.Release)).Release.NextGeneration.ShouldBe(0);
        var waiting = await Until(s => s.State == RunState.Waiting);
        waiting.Reason.ShouldBe("waits for 1 more trainer (0 of 1 ready): trainer-1 drains.");
        await Client.PublishCheckpointAsync(Checkpoint(1, generation: 2));
        await trainers[1].Leave(reason: "drained");
        var newcomer = await Join(2);
        var next = await newcomer.Assignment();
        (next.Generation, next.CheckpointStep, next.CheckpointGeneration).ShouldBe((3, 1, 2));
    }

    [Fact]
    public async Task Pause_TakesACheckpointAndWaits_UnpauseGoesOnWithTheSameTrainers()
    {
        var trainers = await Begin();
        await Client.PauseRunAsync(new PauseRunRequest { Run = "demo", Reason = "lunch" });
        foreach (var trainer in trainers)
        {
            var standby = (await trainer.Next(SiloMessage.KindOneofCase.Standby)).Standby;
            (standby.AtOnce, standby.Checkpoint, standby.Reason).ShouldBe((false, true, "Paused: lunch."));
        }

        await ApplyAll(trainers, 4); // the steps up to the boundary
        await Client.PublishCheckpointAsync(Checkpoint(4));
        (await Client.GetRunAsync(new GetRunRequest { Run = "demo" })).State.ShouldBe(RunState.Paused);
        await Client.UnpauseRunAsync(new UnpauseRunRequest { Run = "demo" });
        var next = await trainers[1].Assignment();
        (next.Generation, next.World, next.CheckpointStep).ShouldBe((2, 2, 4));
    }

    [Fact]
    public async Task SameProcessOnAnotherStream_KeepsItsPlace_AndTheFirstStreamEnds()
    {
        var trainers = await Begin();
        await ApplyAll(trainers, 3);
        var back = Track(await trainers[1].Rejoin(Grpc));
        await back.Next(SiloMessage.KindOneofCase.HeartbeatAck);
        (await trainers[1].Ended()).StatusCode.ShouldBe(StatusCode.Aborted);
        await ApplyAll([trainers[0], back], 4);
        (await Client.GetRunAsync(new GetRunRequest { Run = "demo" })).Generation.ShouldBe(1);
    }

    [Fact]
    public async Task TrainerStartedAgain_WithItsOldName_WaitsForThePlaceOfItself()
    {
        var trainers = await Begin();
        await trainers[1].Die();
        var again = await JoinAgain(1);
        (await trainers[0].Assignment()).World.ShouldBe(1);
        await trainers[0].Began(0);
        (await again.Assignment()).Generation.ShouldBe(3);
        (await trainers[0].Assignment()).World.ShouldBe(2);
    }
}

using System.Collections.Immutable;
using Orleans.Runtime;

namespace DarkMatter.Grains.Tests;

public sealed class RosterGrainTests
{
    private static readonly RunPlan s_plan = new() { RecipeYaml = "name: demo\n", World = 2, Lanes = 5, Batch = 10, Samples = 100 };

    private static MemberReport Heard(int i, long step = 0, long generation = 1) =>
        new() { Name = $"t-{i}", Incarnation = $"i{i}", Session = $"s{i}", Generation = generation, Step = step, Prepared = true };

    private static JoinRequest Joins(int i) =>
        new() { Name = $"t-{i}", Incarnation = $"i{i}", Session = $"s{i}", Address = $"http://127.0.0.1:{9000 + i}", ProcessId = 100 + i };

    private static SiloReport Says(params MemberReport[] members) => new() { Members = [.. members], KnownGeneration = 99 };

    private static MemberReport Began(MemberReport report, long step = 0) =>
        report with { Beginning = new GenerationBeginning { Generation = report.Generation, StartStep = step, Source = "fresh" } };

    private static async Task<RunView> Run(GrainSilo silo) => (await silo.Grains.GetGrain<IRunGrain>("demo").Get())!;

    private static async Task<IRosterGrain> Joined(GrainSilo silo, RunPlan? plan = null)
    {
        var roster = silo.Grains.GetGrain<IRosterGrain>("demo");
        var run = (await silo.Grains.GetGrain<IRunGrain>("demo").Create(plan ?? s_plan)).Run!;
        await roster.Open(run, new RosterOptions());
        (await roster.Join(Joins(1))).Brief!.RecipeYaml.ShouldBe("name: demo\n");
        (await roster.Report(Says(Heard(1, generation: 0)))).State.ShouldBe(RunState.Waiting);
        (await roster.Join(Joins(0))).KeepsPlace.ShouldBeFalse();
        return roster;
    }

    private static async Task<IRosterGrain> Training(GrainSilo silo, RunPlan? plan = null)
    {
        var roster = await Joined(silo, plan);
        (await roster.Report(Says(Heard(0, generation: 0), Heard(1, generation: 0)))).State.ShouldBe(RunState.Training);
        await roster.Report(Says(Began(Heard(0)), Heard(1)));
        (await Run(silo)).Began.ShouldBeTrue();
        return roster;
    }

    [Fact]
    public async Task WorldReady_IsInTheLedger_BeforeTheSiloHearsOfIt()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Joined(silo);
        var ready = new SiloReport { Members = [Heard(0, generation: 0), Heard(1, generation: 0)] };
        silo.Storage.Fails = true;
        await Should.ThrowAsync<OrleansException>(() => roster.Report(ready));
        (await Run(silo)).State.ShouldBe(RunState.Waiting);

        silo.Storage.Fails = false;
        var view = await roster.Report(ready);
        view.State.ShouldBe(RunState.Training);
        var seating = view.Seating.ShouldNotBeNull();
        seating.Generation.ShouldBe(1);
        seating.Seats.Select(s => (s.Rank, s.Name, string.Join(' ', s.Lanes))).ShouldBe([(0, "t-0", "0 1 2"), (1, "t-1", "3 4")]);
        (await Run(silo)).Progress.Generation.ShouldBe(1);
        (await roster.Report(ready with { KnownGeneration = 1 })).Seating.ShouldBeNull();
    }

    [Fact]
    public async Task ManyReports_AreWrittenAboutOnceASecond_AndStepIsTheSlowestRanks()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        int before = silo.Storage.Writes;
        for (int i = 1; i <= 50; i++)
        {
            silo.Time.Advance(TimeSpan.FromMilliseconds(100));
            await roster.Report(Says(Heard(0, (10 * i) + 5), Heard(1, 10 * i)));
        }

        (silo.Storage.Writes - before).ShouldBeInRange(4, 6);
        (await Run(silo)).Progress.Step.ShouldBe(500);
    }

    [Fact]
    public async Task LostTrainer_ANewGenerationIsDurable_AndTheLedgerHasBoth()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        await roster.Report(Says(Heard(0, 7), Heard(1, 6) with { SilentFor = TimeSpan.FromSeconds(1.9) }));
        var view = await roster.Report(new SiloReport { Members = [Heard(0, 7), Heard(1, 6) with { SilentFor = TimeSpan.FromSeconds(2) }] });
        var seating = view.Seating.ShouldNotBeNull();
        (seating.Generation, seating.AtOnce, seating.Seats.Length).ShouldBe((2, true, 1));
        view.Strangers.ShouldBe(["s1"]);
        await roster.Report(Says(Heard(0, generation: 2) with
        {
            Beginning = new GenerationBeginning { Generation = 2, StartStep = 7, Source = "memory of generation 1", Lineage = [new LineageSegment(1, 0, 7, 42)], Healed = [1] },
        }));

        var ledger = (await silo.Grains.GetGrain<IRunGrain>("demo").Ledger())!;
        ledger.Generations.Select(g => (g.Number, g.Began, g.StartStep, g.CommittedStep, g.DigestStep, g.SamplesDigest))
            .ShouldBe([(1, true, 0, 7, 7, 42ul), (2, true, 7, 7, 7, 0ul)]);
        ledger.Step.ShouldBe(7);
        var run = await Run(silo);
        run.Progress.Notice.ShouldStartWith("t-1 (rank 1, pid 101) was lost at step 6");
        (await roster.Join(Joins(1) with { Generation = 1 })).Refusal.ShouldBe(Refusal.StaleGeneration);
        (await roster.Join(Joins(1))).Refusal.ShouldBe(Refusal.None);
    }

    [Fact]
    public async Task GenerationThatWasStoredButNotTold_IsNeverUsedAgain()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        await silo.Grains.GetGrain<IRunGrain>("demo").BeginGeneration(new GenerationRecord { Number = 2, Reason = "told to nobody" }, []);
        var view = await roster.Report(new SiloReport { Members = [Heard(0), Heard(1) with { Presence = Presence.Broken }] });
        view.Generation.ShouldBe(3);
        view.Seating!.Generation.ShouldBe(3);
    }

    [Fact]
    public async Task EarlierIncarnationAndEarlierStream_AreNotHeard()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        var zombie = Heard(1, 99) with { Incarnation = "old", Presence = Presence.Broken };
        var stream = Heard(1, 99) with { Session = "old", Presence = Presence.Broken };
        var view = await roster.Report(Says(Heard(0, 3), Heard(1, 3), zombie, stream));
        (view.State, view.Generation).ShouldBe((RunState.Training, 1));
        (await Run(silo)).Progress.Step.ShouldBe(3);
    }

    [Fact]
    public async Task DifferentStates_AreHealedInANewGenerationOfTheSameTrainers()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        static ImmutableArray<StateHash> Hash(string hash) => [new StateHash { Step = 50, Hash = hash }];
        (await roster.Report(Says(Heard(0, 50) with { Hashes = Hash("aa") }, Heard(1, 49)))).Generation.ShouldBe(1);
        var view = await roster.Report(Says(Heard(0, 50), Heard(1, 50) with { Hashes = Hash("bb") }));
        view.Generation.ShouldBe(2);
        view.Reason.ShouldContain("differ after step 50: rank 0 has aa but rank 1 has bb");
        view.Reason.ShouldContain("2 trainers go on");
    }

    [Fact]
    public async Task Roster_ActivatedAnew_KeepsThePlacesOfThoseThatComeBack_AndReplacesTheRest()
    {
        var storage = new WatchedStorage();
        await using var silo = await GrainSilo.Start(storage);
        var before = await Training(silo);
        await before.Report(Says(Heard(0, 30), Heard(1, 30)));
        await silo.Restart();

        var roster = silo.Grains.GetGrain<IRosterGrain>("demo");
        await roster.Reopen(new RosterOptions());
        (await roster.Report(Says())).State.ShouldBe(RunState.Training);
        var back = await roster.Join(Joins(0) with { Session = "new", Generation = 1, LastStep = 55 });
        back.KeepsPlace.ShouldBeTrue();
        (await roster.Join(Joins(1) with { Incarnation = "other", Generation = 1 })).Refusal.ShouldBe(Refusal.StaleGeneration);
        (await roster.Report(Says(Heard(0, 60) with { Session = "new" }))).Generation.ShouldBe(1);
        silo.Time.Advance(TimeSpan.FromSeconds(9.9));
        (await roster.Report(Says(Heard(0, 60) with { Session = "new" }))).Generation.ShouldBe(1);
        silo.Time.Advance(TimeSpan.FromSeconds(0.1));
        var view = await roster.Report(Says(Heard(0, 60) with { Session = "new" }));
        view.Generation.ShouldBe(2);
        view.Reason.ShouldContain("t-1 (rank 1, pid 101) did not come back within 10 s of the silo's restart. 1 trainer goes on (t-0)");
    }

    [Fact]
    public async Task Roster_ThatLostItsMemoryAlone_HearsTheStreamsThatAreStillOpen()
    {
        await using var silo = await GrainSilo.Start();
        await Training(silo);
        await silo.Restart();
        var roster = silo.Grains.GetGrain<IRosterGrain>("demo");
        var view = await roster.Report(Says(Heard(0, 31), Heard(1, 31)));
        view.Strangers.ShouldBeEmpty();
        silo.Time.Advance(TimeSpan.FromSeconds(60));
        (await roster.Report(Says(Heard(0, 32), Heard(1, 32)))).Generation.ShouldBe(1);
        (await Run(silo)).Progress.Step.ShouldBe(32);
    }

    [Fact]
    public async Task PauseAndUnpause_AreDurable_AndKeepTheSameTrainers()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        (await roster.Pause("lunch")).Run!.State.ShouldBe(RunState.Paused);
        var view = await roster.Report(Says(Heard(0, 4), Heard(1, 4)));
        (view.State, view.HoldAtOnce, view.HoldWithCheckpoint, view.Reason).ShouldBe((RunState.Paused, false, true, "Paused: lunch."));
        (await Run(silo)).Progress.Step.ShouldBe(4);
        (await roster.Unpause()).Run!.State.ShouldBe(RunState.Training);
        (await roster.Report(Says(Heard(0), Heard(1)))).Generation.ShouldBe(2);
        await roster.Stop("enough");
        await roster.Report(Says(Heard(0, generation: 2) with { Presence = Presence.Left }, Heard(1, generation: 2) with { Presence = Presence.Left }));
        (await roster.Pause("too late")).Message.ShouldContain("run 'demo' is over");
    }

    [Fact]
    public async Task Stop_IsDurable_ASiloThatComesBackGoesOnWithIt()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        await roster.Stop("enough");
        await silo.Restart();
        roster = silo.Grains.GetGrain<IRosterGrain>("demo");
        (await roster.Join(Joins(0) with { Generation = 1, LastStep = 4 })).KeepsPlace.ShouldBeTrue();
        (await roster.Report(Says(Heard(0, 4)))).StopRequested.ShouldBeTrue();
        var view = await roster.Report(Says(Heard(0, 4) with { Presence = Presence.Left }, Heard(1, 4) with { Presence = Presence.Left }));
        (view.State, view.Reason.Split(" No")[0]).ShouldBe((RunState.Stopped, "Enough at step 4."));
    }

    [Fact]
    public async Task Abandon_OnlyWithoutTrainers_MakesTheRunResumable()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        (await roster.Abandon("gone")).Message.ShouldBe("run 'demo' lives already, with t-0, t-1: watch it, or stop it before resuming");
        await silo.Restart();
        roster = silo.Grains.GetGrain<IRosterGrain>("demo");
        (await roster.Abandon("All were gone.")).Run!.State.ShouldBe(RunState.Failed);
        var resumed = (await silo.Grains.GetGrain<IRunGrain>("demo").Resume(s_plan, 0, null)).Run.ShouldNotBeNull();
        await roster.Open(resumed, new RosterOptions());
        (await roster.Join(Joins(0) with { Generation = 1 })).Refusal.ShouldBe(Refusal.StaleGeneration);
        (await roster.Join(Joins(0))).Refusal.ShouldBe(Refusal.None);
    }

    [Fact]
    public async Task StepPlanOfRankZero_IsDurable_AndKeptForResume()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        await roster.Report(Says(Heard(0, 5) with { PlannedSteps = 321 }, Heard(1, 5) with { PlannedSteps = 999 }));
        (await Run(silo)).TotalSteps.ShouldBe(321);
        await silo.Restart();
        roster = silo.Grains.GetGrain<IRosterGrain>("demo");
        await roster.Abandon("The silo was killed.");
        var resumed = (await silo.Grains.GetGrain<IRunGrain>("demo").Resume(s_plan, 0, null)).Run.ShouldNotBeNull();
        resumed.TotalSteps.ShouldBe(321);
        await roster.Open(resumed, new RosterOptions());
        await roster.Join(Joins(0));
        await roster.Join(Joins(1));
        (await roster.Report(Says(Heard(0, generation: 0), Heard(1, generation: 0)))).Generation.ShouldBe(2);
    }

    [Fact]
    public async Task AllCompleted_CompletesTheRun()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        var done = Says(Heard(0, 80) with { Presence = Presence.Completed }, Heard(1, 80) with { Presence = Presence.Completed });
        (await roster.Report(done)).State.ShouldBe(RunState.Completed);
        var run = await Run(silo);
        (run.State, run.Progress.Step).ShouldBe((RunState.Completed, 80));
        (await roster.Join(Joins(2))).Message.ShouldContain("run 'demo' is over");
    }

    [Fact]
    public async Task LastCheckpointPublished_WhoIsLostThenIsNotMissed()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo, s_plan with { TotalSteps = 80 });
        await silo.Grains.GetGrain<ICheckpointGrain>("demo")
            .Publish(new CheckpointRecord { Step = 80, Path = "/c/80", ManifestSha256 = new('1', 64), Generation = 1 });
        (await roster.Report(Says(Heard(0, 80) with { Presence = Presence.Completed }, Heard(1, 80) with { Presence = Presence.Broken }))).State
            .ShouldBe(RunState.Completed);
    }

    [Theory]
    [InlineData(-365)]
    [InlineData(365)]
    public async Task ClockJump_LosesNobody_AndHoldsNothingUp(int days)
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        silo.Time.SetWallClock(TimeSpan.FromDays(days));
        silo.Time.Advance(TimeSpan.FromSeconds(1));
        (await roster.Report(Says(Heard(0, 3), Heard(1, 3)))).Generation.ShouldBe(1);
        (await Run(silo)).Progress.Step.ShouldBe(3);
        (await roster.Report(Says(Heard(0, 3), Heard(1, 3) with { SilentFor = TimeSpan.FromSeconds(2) }))).Generation.ShouldBe(2);
    }

    [Fact]
    public async Task SlowTrainer_IsNamed_AndSoIsItsRecovery()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Training(silo);
        for (int step = 1; step <= 12; step++)
        {
            double second = step <= 6 ? 0.4 : 0.2;
            await roster.Report(Says(Heard(0, step) with { ComputeSeconds = 0.2 }, Heard(1, step) with { ComputeSeconds = second }));
            if (step == 6)
            {
                var slow = await Run(silo);
                slow.Progress.Notice.ShouldBe("t-1 is slow: its steps compute for 0.4 s, those of the others for 0.2 s.");
                slow.Progress.Members.Select(m => (m.Name, m.Slow, m.ComputeSeconds)).ShouldBe([("t-0", false, 0.2), ("t-1", true, 0.4)]);
            }
        }

        (await Run(silo)).Progress.Notice.ShouldBe("t-1 is as fast as the others again.");
    }

    [Fact]
    public async Task Checkpoint_IsNotedInTheLedger_AndFencedByGeneration()
    {
        await using var silo = await GrainSilo.Start();
        await Training(silo);
        var checkpoints = silo.Grains.GetGrain<ICheckpointGrain>("demo");
        var record = new CheckpointRecord { Step = 4, Path = "/c/4", ManifestSha256 = new('1', 64), Generation = 1 };
        (await checkpoints.Publish(record)).Run!.Checkpoint.ShouldBe(record);
        (await checkpoints.Newest()).ShouldBe(record);
        (await checkpoints.Publish(record with { Generation = 2, Step = 5 })).Refusal.ShouldBe(Refusal.StaleGeneration);
        (await checkpoints.Newest()).ShouldBe(record);
    }
}

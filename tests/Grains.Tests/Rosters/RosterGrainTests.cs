using System.Collections.Immutable;
using Orleans.Runtime;

namespace DarkMatter.Grains.Tests;

public sealed class RosterGrainTests
{
    private static readonly RunPlan s_plan = new() { RecipeYaml = "name: demo\n", World = 2, Lanes = 5, Batch = 10, Samples = 100 };

    private static MemberReport Heard(int i, long step = 0) => new() { Name = $"t-{i}", Incarnation = $"i{i}", Step = step };

    private static JoinRequest Joins(int i) =>
        new() { Name = $"t-{i}", Incarnation = $"i{i}", Address = $"http://127.0.0.1:{9000 + i}", ProcessId = 100 + i };

    private static async Task<IRosterGrain> Begin(GrainSilo silo)
    {
        var run = silo.Grains.GetGrain<IRunGrain>("demo");
        var roster = silo.Grains.GetGrain<IRosterGrain>("demo");
        await roster.Open((await run.Create(s_plan)).Run!, new RosterOptions());
        (await roster.Join(Joins(1))).Refusal.ShouldBe(Refusal.None);
        (await roster.Report(new SiloReport { Members = [Heard(1)] })).State.ShouldBe(RunState.Waiting);
        (await roster.Join(Joins(0))).Refusal.ShouldBe(Refusal.None);
        return roster;
    }

    [Fact]
    public async Task WorldComplete_IsInTheLedger_BeforeTheSiloHearsOfIt()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Begin(silo);
        silo.Storage.Fails = true;
        await Should.ThrowAsync<OrleansException>(() => roster.Report(new SiloReport { Members = [Heard(0), Heard(1)] }));
        (await silo.Grains.GetGrain<IRunGrain>("demo").Get())!.State.ShouldBe(RunState.Waiting);

        silo.Storage.Fails = false;
        var view = await roster.Report(new SiloReport { Members = [Heard(0), Heard(1)] });
        view.State.ShouldBe(RunState.Training);
        var seating = view.Seating.ShouldNotBeNull();
        seating.Generation.ShouldBe(1);
        seating.Seats.Select(s => (s.Rank, s.Name, string.Join(' ', s.Lanes))).ShouldBe([(0, "t-0", "0 1 2"), (1, "t-1", "3 4")]);
        (await silo.Grains.GetGrain<IRunGrain>("demo").Get())!.Progress.Generation.ShouldBe(1);
        (await roster.Report(new SiloReport { Members = [Heard(0), Heard(1)], KnownGeneration = 1 })).Seating.ShouldBeNull();
    }

    [Fact]
    public async Task ManyReports_AreWrittenAboutOnceASecond_AndStepIsTheSlowestRanks()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Begin(silo);
        await roster.Report(new SiloReport { Members = [Heard(0), Heard(1)] });
        int before = silo.Storage.Writes;
        for (int i = 1; i <= 50; i++)
        {
            silo.Time.Advance(TimeSpan.FromMilliseconds(100));
            await roster.Report(new SiloReport { Members = [Heard(0, (10 * i) + 5), Heard(1, 10 * i)], KnownGeneration = 1 });
        }

        (silo.Storage.Writes - before).ShouldBeInRange(4, 6);
        (await silo.Grains.GetGrain<IRunGrain>("demo").Get())!.Progress.Step.ShouldBe(500);
    }

    [Fact]
    public async Task LostTrainer_FailsTheRun_Durably_WithTheLastProgress()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Begin(silo);
        await roster.Report(new SiloReport { Members = [Heard(0), Heard(1)] });
        await roster.Report(new SiloReport { Members = [Heard(0, 7), Heard(1, 6) with { SilentFor = TimeSpan.FromSeconds(1.9) }] });
        var view = await roster.Report(new SiloReport { Members = [Heard(0, 7), Heard(1, 6) with { SilentFor = TimeSpan.FromSeconds(2) }] });
        view.State.ShouldBe(RunState.Failed);
        view.Reason.ShouldStartWith("t-1 (rank 1, pid 101) was lost at step 6");
        var run = (await silo.Grains.GetGrain<IRunGrain>("demo").Get())!;
        run.State.ShouldBe(RunState.Failed);
        run.Progress.Step.ShouldBe(6);
        run.Reason.ShouldContain("--resume");
        (await roster.Join(Joins(1))).Message.ShouldContain("run 'demo' is over");
    }

    [Fact]
    public async Task EarlierIncarnation_IsNotHeard()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Begin(silo);
        await roster.Report(new SiloReport { Members = [Heard(0), Heard(1)] });
        var zombie = Heard(1, 99) with { Incarnation = "old", Presence = Presence.Broken };
        var view = await roster.Report(new SiloReport { Members = [Heard(0, 3), Heard(1, 3), zombie] });
        view.State.ShouldBe(RunState.Training);
        (await silo.Grains.GetGrain<IRunGrain>("demo").Get())!.Progress.Step.ShouldBe(3);
    }

    [Fact]
    public async Task DifferentStates_FailTheRun_NamingStepAndRanks()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Begin(silo);
        await roster.Report(new SiloReport { Members = [Heard(0), Heard(1)] });
        static ImmutableArray<StateHash> Hash(string hash) => [new StateHash { Step = 50, Hash = hash }];
        (await roster.Report(new SiloReport { Members = [Heard(0, 50) with { Hashes = Hash("aa") }, Heard(1, 49)] })).State
            .ShouldBe(RunState.Training);
        var view = await roster.Report(new SiloReport { Members = [Heard(0, 50), Heard(1, 50) with { Hashes = Hash("bb") }] });
        view.State.ShouldBe(RunState.Failed);
        view.Reason.ShouldContain("differ after step 50: rank 0 has aa but rank 1 has bb");
    }

    [Fact]
    public async Task StepPlanOfRankZero_IsDurable_AndKeptForResume()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Begin(silo);
        await roster.Report(new SiloReport { Members = [Heard(0), Heard(1)] });
        await roster.Report(new SiloReport { Members = [Heard(0, 5) with { PlannedSteps = 321 }, Heard(1, 5) with { PlannedSteps = 999 }] });
        var run = silo.Grains.GetGrain<IRunGrain>("demo");
        (await run.Get())!.TotalSteps.ShouldBe(321);
        await roster.Interrupt("The silo was stopped.");
        var resumed = (await run.Resume(s_plan, 0, null)).Run.ShouldNotBeNull();
        resumed.TotalSteps.ShouldBe(321);
        await roster.Open(resumed, new RosterOptions());
        await roster.Join(Joins(0));
        await roster.Join(Joins(1));
        (await roster.Report(new SiloReport { KnownGeneration = 1, Members = [Heard(0), Heard(1)] })).Seating!.Generation.ShouldBe(2);
    }

    [Fact]
    public async Task AllCompleted_CompletesTheRun()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Begin(silo);
        await roster.Report(new SiloReport { Members = [Heard(0), Heard(1)] });
        var done = new SiloReport
        {
            Members = [Heard(0, 80) with { Presence = Presence.Completed }, Heard(1, 80) with { Presence = Presence.Completed }],
        };
        (await roster.Report(done)).State.ShouldBe(RunState.Completed);
        var run = (await silo.Grains.GetGrain<IRunGrain>("demo").Get())!;
        run.State.ShouldBe(RunState.Completed);
        run.Progress.Step.ShouldBe(80);
        await roster.Interrupt("too late");
        (await silo.Grains.GetGrain<IRunGrain>("demo").Get())!.State.ShouldBe(RunState.Completed);
    }

    [Fact]
    public async Task Checkpoint_IsNotedInTheLedger_AndFencedByGeneration()
    {
        await using var silo = await GrainSilo.Start();
        var roster = await Begin(silo);
        await roster.Report(new SiloReport { Members = [Heard(0), Heard(1)] });
        var checkpoints = silo.Grains.GetGrain<ICheckpointGrain>("demo");
        var record = new CheckpointRecord { Step = 4, Path = "/c/4", ManifestSha256 = new('1', 64), Generation = 1 };
        (await checkpoints.Publish(record)).Run!.Checkpoint.ShouldBe(record);
        (await checkpoints.Newest()).ShouldBe(record);
        (await checkpoints.Publish(record with { Generation = 2, Step = 5 })).Refusal.ShouldBe(Refusal.StaleGeneration);
        (await checkpoints.Newest()).ShouldBe(record);
    }
}

namespace DarkMatter.Grains.Tests;

public sealed class RunTests
{
    private static readonly RunPlan s_plan = new()
    {
        RecipeYaml = "name: demo\ntrain:\n  batch: 64\n  epochs: 2\n",
        World = 2,
        Lanes = 8,
        Batch = 64,
        Dataset = "/data",
        DatasetDigest = "abcdef0123456789",
        Samples = 1000,
    };

    private static readonly CheckpointRecord s_checkpoint = new() { Step = 40, Path = "/c/40", ManifestSha256 = new('a', 64), Generation = 1 };

    private static RunRecord Created() => Run.Create("demo", null, s_plan).Next!;

    private static RunRecord Trained(long step = 57)
    {
        var formed = Run.BeginGeneration(Created(), new GenerationRecord { Number = 1, Trainers = ["a", "b"], Lanes = 8, Reason = "formed" }, []);
        var run = Run.Began(formed, new GenerationBeginning { Generation = 1, Source = "fresh" }, default);
        return Run.Report(run, new RunProgress { Generation = 1, Step = step, Members = [new MemberView { Name = "a", Alive = true }] });
    }

    [Fact]
    public void Create_NewName_Waits()
    {
        var run = Created();
        run.State.ShouldBe(RunState.Waiting);
        run.Reason.ShouldBe("waiting for 2 trainers");
        run.Generation.ShouldBe(0);
    }

    [Fact]
    public void Create_KnownName_IsRefused_WithWhatToDo()
    {
        var live = Run.Create("demo", Created(), s_plan);
        live.Refusal.ShouldBe(Refusal.AlreadyExists);
        live.Message.ShouldBe("run 'demo' exists and is waiting for trainers: watch it, stop it first, or choose another name");
        Run.Create("demo", Run.End(Trained(), RunState.Failed, "x."), s_plan).Message
            .ShouldBe("run 'demo' exists and has failed at step 57: continue it with --resume or choose another name");
    }

    [Fact]
    public void Create_WrongPlan_SaysAllThatIsWrong()
    {
        var change = Run.Create("de/mo", null, s_plan with { World = 9, Batch = 63, TotalSteps = -1, Samples = 10 });
        change.Refusal.ShouldBe(Refusal.InvalidArgument);
        string[] problems = change.Message.Split("; ");
        problems.Length.ShouldBe(5);
        problems[0].ShouldContain("run name 'de/mo'");
        problems[1].ShouldBe("world is 9, but there are only 8 lanes: each trainer needs one");
        problems[2].ShouldBe("batch 63 does not divide into 8 lanes: choose a multiple");
    }

    [Fact]
    public void Report_NewProgress_IsCommittedInTheLedger_OldOrBackwardsIsLeftOut()
    {
        var run = Trained();
        run.Generations[^1].CommittedStep.ShouldBe(57);
        Run.Report(run, new RunProgress { Generation = 0, Step = 99 }).ShouldBeSameAs(run);
        Run.Report(run, new RunProgress { Generation = 1, Step = 56 }).ShouldBeSameAs(run);
        Run.Report(run, new RunProgress { Generation = 1, Step = 58 }).Progress.Step.ShouldBe(58);
        Run.Report(Created(), new RunProgress { Step = 1 }).Progress.Step.ShouldBe(0);
    }

    [Fact]
    public void BeginGeneration_NotNewerOrNotLive_IsAnError()
    {
        Should.Throw<InvalidOperationException>(() => Run.BeginGeneration(Trained(), new GenerationRecord { Number = 1 }, []));
        Should.Throw<InvalidOperationException>(
            () => Run.BeginGeneration(Run.End(Trained(), RunState.Failed, "x."), new GenerationRecord { Number = 2 }, []));
    }

    [Fact]
    public void PlanSteps_FirstOfTheCurrentGeneration_Counts_Once()
    {
        var run = Trained();
        Run.PlanSteps(run, 0, 500).TotalSteps.ShouldBe(0);
        Run.PlanSteps(run, 1, 56).TotalSteps.ShouldBe(0);
        var planned = Run.PlanSteps(run, 1, 500);
        planned.TotalSteps.ShouldBe(500);
        Run.PlanSteps(planned, 1, 600).TotalSteps.ShouldBe(500);
        Run.PlanSteps(Created(), 0, 500).TotalSteps.ShouldBe(0);
    }

    [Fact]
    public void End_SaysHowToGoOn_AndTheFirstEndCounts()
    {
        Run.End(Trained(), RunState.Failed, "trainer-1 was lost.").Reason.ShouldBe(
            "trainer-1 was lost. No checkpoint was published yet: resuming with `darkmatter pretrain --resume` starts from the first step.");
        var failed = Run.End(Run.NoteCheckpoint("demo", Trained(), s_checkpoint).Next!, RunState.Failed, "trainer-1 was lost.");
        failed.Reason.ShouldBe(
            "trainer-1 was lost. Continue from the checkpoint of step 40 with `darkmatter pretrain --resume` and the same recipe.");
        failed.Progress.Members[0].Alive.ShouldBeFalse();
        Run.End(failed, RunState.Completed, "done.").ShouldBeSameAs(failed);
        Run.End(Trained(), RunState.Completed, "done.").Reason.ShouldBe("done.");
    }

    [Fact]
    public void Resume_EndedRun_WaitsAgainFromThatCheckpoint_AndKeepsItsPlan()
    {
        var ended = Run.End(
            Run.PlanSteps(Run.NoteCheckpoint("demo", Trained(), s_checkpoint).Next!, 1, 500), RunState.Failed, "x.");
        var change = Run.Resume("demo", ended, s_plan with { World = 3 }, 40, null);
        var run = change.Next.ShouldNotBeNull(change.Message);
        run.State.ShouldBe(RunState.Waiting);
        run.StartStep.ShouldBe(40);
        run.StartCheckpoint.ShouldBe(s_checkpoint);
        run.TotalSteps.ShouldBe(500);
        run.Progress.Step.ShouldBe(40);
        run.Plan.World.ShouldBe(3);
        run.Generation.ShouldBe(1);

        var again = Run.BeginGeneration(run, new GenerationRecord { Number = 2, StartStep = 40 }, []);
        again.Generations.Select(g => (g.Number, g.StartStep, g.CommittedStep)).ShouldBe([(1L, 0L, 57L), (2L, 40L, 40L)]);
    }

    [Fact]
    public void Resume_CheckpointOnlyTheRequestKnows_Counts()
    {
        var ended = Run.End(Trained(), RunState.Failed, "x.");
        var given = new CheckpointRecord { Step = 50, Path = "/c/50" };
        Run.Resume("demo", ended, s_plan, 50, given).Next!.StartCheckpoint.ShouldBe(given);
        Run.Resume("demo", ended, s_plan, 0, null).Next!.StartCheckpoint.ShouldBeNull();
        var refused = Run.Resume("demo", ended, s_plan, 50, null);
        refused.Refusal.ShouldBe(Refusal.FailedPrecondition);
        refused.Message.ShouldBe("run 'demo' has no checkpoint of step 50; published ones: none");
    }

    [Fact]
    public void Resume_UnknownLiveCompletedOrChanged_IsRefused()
    {
        Run.Resume("demo", null, s_plan, 0, null).Refusal.ShouldBe(Refusal.NotFound);
        Run.Resume("demo", Trained(), s_plan, 0, null).Refusal.ShouldBe(Refusal.AlreadyExists);
        Run.Resume("demo", Run.End(Trained(), RunState.Completed, "x"), s_plan, 0, null).Refusal.ShouldBe(Refusal.FailedPrecondition);
        var ended = Run.End(Trained(), RunState.Stopped, "x.");
        Run.Resume("demo", ended, s_plan with { RecipeYaml = "name: demo\ntrain:\n  batch: 32\n  epochs: 2\n" }, 0, null).Message
            .ShouldContain("differs from the one it began with in train.batch:");
        Run.Resume("demo", ended, s_plan with { DatasetDigest = "other" }, 0, null).Message.ShouldContain("the dataset of run 'demo' differs");
    }
}

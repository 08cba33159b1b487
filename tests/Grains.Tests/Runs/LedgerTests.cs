namespace DarkMatter.Grains.Tests;

/// <summary>The run's ledger: generations, what they committed, and the checkpoints on the way.</summary>
public sealed class LedgerTests
{
    private static readonly RunPlan s_plan = new() { World = 2, Lanes = 8, Batch = 64, Samples = 1000 };

    private static RunRecord Formed(RunRecord run, long number) =>
        Run.BeginGeneration(run, new GenerationRecord { Number = number, StartStep = run.Progress.Step, Trainers = ["a", "b"], Lanes = 8, Reason = $"r{number}" }, []);

    private static RunRecord Began(RunRecord run, long step, long stateGeneration = 0, ulong digest = 0) => Began(
        run, step, stateGeneration == 0 ? [] : [new LineageSegment(stateGeneration, run.Generations.Find(g => g.Number == stateGeneration)!.StartStep, step, digest)]);

    private static RunRecord Began(RunRecord run, long step, params LineageSegment[] lineage) => Run.Began(
        run, new GenerationBeginning { Generation = run.Generation, StartStep = step, Lineage = [.. lineage], Source = "s" }, default);

    private static RunRecord Applied(RunRecord run, long step, long digestStep = 0, ulong digest = 0) => Run.Report(
        run, new RunProgress { Generation = run.Generation, Step = step, DigestStep = digestStep, SamplesDigest = digest });

    private static RunRecord First(long step = 57) => Applied(Began(Formed(Run.Create("demo", null, s_plan).Next!, 1), 0), step, step, 570);

    private static CheckpointRecord Checkpoint(long step, long generation) => new() { Step = step, Generation = generation, Path = $"/c/{step}" };

    private static RunRecord Noted(RunRecord run, long step, long generation)
    {
        var change = Run.NoteCheckpoint("demo", run, Checkpoint(step, generation));
        return change.Next.ShouldNotBeNull(change.Message);
    }

    [Fact]
    public void Report_BeforeTheRanksAgreed_CommitsNothing()
    {
        var run = Applied(Formed(First(), 2), 99, 99, 7);
        run.Progress.Step.ShouldBe(57);
        run.Generations[^1].CommittedStep.ShouldBe(57);
        (run.Generations[^1].DigestStep, run.Generations[^1].SamplesDigest).ShouldBe((57, 0ul));
    }

    [Fact]
    public void Began_ProvesHowFarTheStatesGenerationCame()
    {
        var run = Began(Formed(First(57), 2), 60, stateGeneration: 1, digest: 600);
        run.Generations.Select(g => (g.StartStep, g.CommittedStep, g.DigestStep, g.SamplesDigest)).ShouldBe([(0, 60, 60, 600ul), (60, 60, 60, 0ul)]);
        run.Progress.Step.ShouldBe(60);
        run.RolledBack.ShouldBe(0);
        Began(run, 70, 1, 700).ShouldBeSameAs(run);
    }

    [Fact]
    public void Began_Lower_CountsWhatWasLost_AndForgetsItsCheckpoints()
    {
        var run = Began(Formed(Noted(Noted(First(57), 40, 1), 50, 1), 2), 40, stateGeneration: 1, digest: 400);
        run.RolledBack.ShouldBe(17);
        run.Progress.Step.ShouldBe(40);
        run.Checkpoints.Select(c => c.Step).ShouldBe([40L]);
        (run.Generations[0].DigestStep, run.Generations[0].SamplesDigest).ShouldBe((57, 570ul));
        Began(Formed(Applied(run, 45), 3), 45, 2).RolledBack.ShouldBe(17);
    }

    [Fact]
    public void Began_CommittedLessThanTheDigest_IsRaised()
    {
        // Rank 0 had reported step 60 when rank 1 was lost, whose last report was of step 57.
        var run = Applied(Began(Formed(Run.Create("demo", null, s_plan).Next!, 1), 0), 57, 60, 600);
        run = Began(Formed(run, 2), 60, stateGeneration: 1, digest: 600);
        run.Generations.Select(g => (g.CommittedStep, g.DigestStep, g.SamplesDigest)).ShouldBe([(60, 60, 600ul), (60, 60, 0ul)]);
    }

    [Fact]
    public void Began_AfterGenerationsNobodyHeardOf_ProvesThemByTheirState()
    {
        // Generations 2 and 3 trained while their rank 0 was cut off from the silo; generation 3's state came to 90.
        var run = Began(
            Formed(Formed(Formed(First(57), 2), 3), 4), 90,
            new LineageSegment(1, 0, 59, 590), new LineageSegment(2, 59, 70, 110), new LineageSegment(3, 70, 90, 200));
        run.Generations.Select(g => (g.Began, g.StartStep, g.CommittedStep, g.DigestStep, g.SamplesDigest, g.Parent)).ShouldBe(
            [(true, 0, 59, 59, 590ul, 0), (true, 59, 70, 70, 110ul, 1), (true, 70, 90, 90, 200ul, 2), (true, 90, 90, 90, 0ul, 3)]);
        (run.Progress.Step, run.RolledBack).ShouldBe((90, 0));
    }

    [Fact]
    public void Began_WithTheStateOfAnOlderGeneration_CountsWhatTheNewerOneLost()
    {
        var run = Applied(Began(Formed(First(57), 2), 57, stateGeneration: 1), 80);
        run = Began(Formed(run, 3), 57, stateGeneration: 1);
        (run.RolledBack, run.Generations[^1].Parent).ShouldBe((23, 1));
    }

    [Fact]
    public void Prove_TheEndOfARun_CountsThoughTheNextGenerationWasFormed()
    {
        var run = Run.Prove(Formed(First(57), 2), [new LineageSegment(1, 0, 64, 640)]);
        (run.Progress.Step, run.Generations[0].CommittedStep, run.Generations[0].SamplesDigest).ShouldBe((64, 64, 640ul));
        Run.Prove(run, [new LineageSegment(1, 0, 64, 640)]).ShouldBeSameAs(run);
        Run.Prove(run, [new LineageSegment(9, 0, 99, 1)]).ShouldBeSameAs(run);
    }

    [Fact]
    public void Began_AfterGenerationsThatNeverBegan_ComparesWithTheLastThatDid()
    {
        var run = Began(Formed(Formed(First(57), 2), 3), 50, stateGeneration: 1);
        run.RolledBack.ShouldBe(7);
        run.Generations.Select(g => g.Began).ShouldBe([true, false, true]);
    }

    [Fact]
    public void Began_OfAnotherGenerationOrAnEndedRun_ChangesNothing()
    {
        var run = Formed(First(), 2);
        Run.Began(run, new GenerationBeginning { Generation = 1 }, default).ShouldBeSameAs(run);
        var ended = Run.End(run, RunState.Stopped, "x.");
        Run.Began(ended, new GenerationBeginning { Generation = 2 }, default).ShouldBeSameAs(ended);
    }

    [Fact]
    public void Report_OfNothingNew_ChangesNothing()
    {
        static RunProgress Now(bool alive) => new() { Generation = 1, Step = 60, Members = [new MemberView { Name = "a", Alive = alive }] };
        var run = Run.Report(First(), Now(alive: true));
        Run.Report(run, Now(alive: true)).ShouldBeSameAs(run);
        Run.Report(run, Now(alive: false)).ShouldNotBeSameAs(run);
    }

    [Fact]
    public void Hold_KeepsTheGeneration_AndItsLastStepsStillCount()
    {
        var paused = Applied(Run.Hold(First(), RunState.Paused, "lunch"), 58);
        (paused.State, paused.Reason, paused.Progress.Step, paused.Generations[^1].CommittedStep).ShouldBe((RunState.Paused, "lunch", 58, 58));
        Formed(paused, 2).State.ShouldBe(RunState.Training);
        var ended = Run.End(paused, RunState.Failed, "x.");
        Run.Hold(ended, RunState.Waiting, "y").ShouldBeSameAs(ended);
    }

    [Fact]
    public void NoteCheckpoint_OfAnEarlierGeneration_CountsWhileTheStepsLeadThroughIt()
    {
        var run = Began(Formed(First(57), 2), 57, stateGeneration: 1);
        Noted(run, 50, 1).Checkpoints.ShouldHaveSingleItem();
        Run.NoteCheckpoint("demo", run, Checkpoint(58, 1)).Message.ShouldBe(
            "the checkpoint of step 58 of generation 1 is no part of run 'demo' any more: generation 2 began at step 57");
        Run.NoteCheckpoint("demo", run, Checkpoint(58, 3)).Refusal.ShouldBe(Refusal.StaleGeneration);
        Run.NoteCheckpoint("demo", null, Checkpoint(58, 1)).Refusal.ShouldBe(Refusal.NotFound);
        Noted(Noted(run, 60, 2), 50, 1).Checkpoints.Select(c => (c.Step, c.Generation)).ShouldBe([(60, 2), (50, 1)]);
    }

    [Fact]
    public void NoteCheckpoint_KeepsABoundedNumber_NewestFirst()
    {
        var run = First();
        for (int step = 1; step <= 2 * Run.KeptCheckpoints; step++)
        {
            run = Noted(run, step, 1);
        }

        run.Checkpoints.Count.ShouldBe(Run.KeptCheckpoints);
        run.Checkpoints[0].Step.ShouldBe(2 * Run.KeptCheckpoints);
        Run.View("demo", run, 3).Checkpoint!.Step.ShouldBe(2 * Run.KeptCheckpoints);
    }

    [Fact]
    public void NoteCheckpoint_OfAnEarlierLife_IsStale()
    {
        var resumed = Run.Resume("demo", Run.End(Noted(Noted(First(), 40, 1), 50, 1), RunState.Failed, "x."), s_plan, 40, null).Next!;
        resumed.Checkpoints.Select(c => c.Step).ShouldBe([40L]);
        Run.NoteCheckpoint("demo", resumed, Checkpoint(57, 1)).Refusal.ShouldBe(Refusal.StaleGeneration);
        var run = Began(Formed(resumed, 2), 40, stateGeneration: 1);
        run.RolledBack.ShouldBe(17);
        Noted(run, 41, 2).Checkpoints.Select(c => c.Step).ShouldBe([41L, 40L]);
    }

    [Fact]
    public void NoteCheckpoint_OfARunThatHasStopped_IsKept_AndTheWayToGoOnNamesIt()
    {
        var run = Noted(Run.End(Noted(First(), 40, 1), RunState.Stopped, "Asked; trainer-0 had not stopped."), 57, 1);
        run.Checkpoints.Select(c => c.Step).ShouldBe([57L, 40L]);
        run.State.ShouldBe(RunState.Stopped);
        run.Reason.ShouldStartWith("Asked; trainer-0 had not stopped. Continue from the checkpoint of step 57 ");
        Run.Resume("demo", run, s_plan, 57, null).Next.ShouldNotBeNull().Checkpoints[0].Step.ShouldBe(57);
        Run.NoteCheckpoint("demo", Run.End(First(), RunState.Failed, "x."), Checkpoint(57, 1)).Refusal.ShouldBe(Refusal.StaleGeneration);
    }

    [Fact]
    public void Seal_MovesTheOlderHalfOfALongLedger_AndLosesNothing()
    {
        var run = First();
        var older = System.Collections.Immutable.ImmutableList<GenerationRecord>.Empty;
        for (long number = 2; number <= 1000; number++)
        {
            run = Formed(run, number);
            if (Run.Seal(run) is var (sealedNow, shorter))
            {
                older = Run.WholeLedger(older, sealedNow);
                Run.WholeLedger(older, run.Generations).Select(g => g.Number).ShouldBe(Numbers(number)); // a kill before the second write
                run = shorter;
            }

            run.Generations.Count.ShouldBeLessThanOrEqualTo(Run.OpenGenerations);
        }

        Run.WholeLedger(older, run.Generations).Select(g => g.Number).ShouldBe(Numbers(1000));

        static IEnumerable<long> Numbers(long last) => Enumerable.Range(1, (int)last).Select(n => (long)n);
    }
}

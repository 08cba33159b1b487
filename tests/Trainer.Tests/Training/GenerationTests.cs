using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Tests.Collectives;
using DarkMatter.Trainer.Training;
using TorchSharp;

namespace DarkMatter.Trainer.Tests.Training;

/// <summary>Ranks killed, joining, differing and coming back, over real streams: what is trained stays what one undisturbed rank trains.</summary>
[Collection(TorchCollection.Name)]
public sealed class GenerationTests : IDisposable
{
    /// <summary>In float64, so that the rounding of other world sizes stays far below what a wrong batch or gradient would change.</summary>
    private static readonly TrainOptions Options = TrainingRunTests.Options with
    {
        Precision = Precision.Float64,
        TotalSteps = 16,
        HashEvery = 4,
        Optimizer = new OptimizerOptions { LearningRate = 0.02 },
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("generations").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task RankKilled_OthersGoOnFromMemory_TrainWhatOneRankTrains(int world)
    {
        await using var fleet = await Fleet.StartAsync(Options, world);
        var all = Enumerable.Range(0, world).ToArray();
        var outcomes = await fleet.RunAsync(all, (trainer, place) => place.Views = views => trainer == 1 ? new MortalViews(views, diesAt: 6) : views);
        outcomes[1].Failure.ShouldBeOfType<Killed>();
        foreach (var rank in all.Where(r => r != 1))
        {
            outcomes[rank].Failure.ShouldBeOfType<CollectiveAbortedException>().FailedRank.ShouldBe(1);
            fleet.State(rank).Step.ShouldBeInRange(5, 6, "who still waited for the last sums of a step when the word came has not made it");
            fleet.State(rank).Holds.ShouldBeTrue();
        }

        var others = all.Where(t => t != 1).ToArray();
        var step = others.Max(t => fleet.State(t).Step);
        var behind = others.Index().Where(o => fleet.State(o.Item).Step < step).Select(o => o.Index).ToList();
        (await fleet.RunAsync(others)).ShouldAllBe(o => o.Failure == null && o.Result!.Step == Options.TotalSteps);
        var began = fleet.Session(0).Began[^1];
        (began.Source, began.StartStep).ShouldBe(("memory of generation 1", step));
        began.Healed.ShouldBe(behind);
        began.Lineage.ShouldBe([new StateSegment(1, 0, step, Digest(from: 0, to: step))]);
        ShouldBeUndisturbed(fleet);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(9)]
    [InlineData(30)]
    public async Task RankKilledInTheMiddleOfAStep_TheStepLeavesNoTrace(int sum)
    {
        await using var fleet = await Fleet.StartAsync(Options, 3);
        fleet.YieldAt(3);
        (await fleet.RunAsync([0, 1])).ShouldAllBe(o => o.Result!.Yielded && o.Result.Step == 3);
        fleet.YieldAt(long.MaxValue);
        var before = new[] { fleet.State(0).Hash(), fleet.State(1).Hash() };
        before[1].ShouldBe(before[0]);
        var outcomes = await fleet.RunAsync([0, 1], (trainer, place) => place.Ranks = trainer == 1 ? new MortalRank(place.Ranks, sum) : place.Ranks);
        outcomes.ShouldAllBe(o => o.Failure != null);
        fleet.State(0).Step.ShouldBe(3);
        new[] { fleet.State(0).Hash(), fleet.State(1).Hash() }.ShouldBe(before, "running statistics are those before the step");

        // The same two ranks repeat the step: bit for bit as if nothing had been.
        await using var twin = await Fleet.StartAsync(Options, 2);
        await twin.RunAsync([0, 1]);
        (await fleet.RunAsync([0, 1])).ShouldAllBe(o => o.Result!.Step == Options.TotalSteps);
        fleet.State(0).Hash().ShouldBe(twin.State(0).Hash());
        fleet.Curve().Select(s => s.Loss).ShouldBe(twin.Curve().Select(s => s.Loss));
    }

    [Fact]
    public async Task TrainersComeAndGo_OneToFourRanksWithUnevenLanes_TrainWhatOneRankTrains()
    {
        await using var fleet = await Fleet.StartAsync(Options, 5);
        var step = 0;
        foreach (var members in (int[][])[[0], [0, 1], [0, 1, 2], [3, 0, 1, 2], [2, 4, 1], [4], [4, 0, 2, 1]])
        {
            fleet.YieldAt(step += 2);
            var outcomes = await fleet.RunAsync(members);
            outcomes.ShouldAllBe(o => o.Failure == null);
            outcomes.ShouldAllBe(o => o.Result!.Step == step);
            members.Select(m => fleet.State(m).Hash()).Distinct().Count().ShouldBe(1);
        }

        fleet.YieldAt(long.MaxValue);
        (await fleet.RunAsync([1, 3, 2])).ShouldAllBe(o => o.Result!.Step == Options.TotalSteps);

        // Generation 4 begins with three donors and one that needs all of it; in generation 5 rank 1 is new.
        fleet.Session(0).Began[3].Healed.ShouldBe([0]);
        fleet.Session(0).Began[3].HealedBytes.ShouldBeGreaterThan(100_000);
        fleet.Session(2).Began[2].Healed.ShouldBe([1]);
        fleet.Session(4).Began.Count.ShouldBe(3);
        ShouldBeUndisturbed(fleet);
    }

    [Fact]
    public async Task RankWhoseStateDiffers_IsFoundHealedAndNamed()
    {
        await using var fleet = await Fleet.StartAsync(Options, 3);
        fleet.Session(1).OnStep = report => Spoil(fleet.State(1), when: report.Step == 6);
        var outcomes = await fleet.RunAsync([0, 1, 2]);
        foreach (var outcome in outcomes)
        {
            var diverged = outcome.Failure.ShouldBeOfType<StateDivergedException>();
            diverged.Tainted.ShouldBe([1]);
            diverged.Message.ShouldContain("step 8, generation 1");
            diverged.Message.ShouldContain("Rank 1 is outside the majority");
        }

        new[] { fleet.State(0).Holds, fleet.State(1).Holds, fleet.State(2).Holds }.ShouldBe([true, false, true]);
        fleet.Session(1).OnStep = _ => { };
        (await fleet.RunAsync([0, 1, 2])).ShouldAllBe(o => o.Failure == null);
        var began = fleet.Session(0).Began[^1];
        (began.StartStep, began.Source).ShouldBe((8, "memory of generation 1"));
        began.Healed.ShouldBe([1]);
        fleet.State(1).Hash().ShouldBe(fleet.State(0).Hash());
    }

    [Fact]
    public async Task TwoRanksWithDifferentStates_BothGoBackToTheCheckpoint()
    {
        var options = Options with { RunDirectory = _folder, CheckpointEvery = 4 };
        await using var fleet = await Fleet.StartAsync(options, 2);
        fleet.Session(1).OnStep = report => Spoil(fleet.State(1), when: report.Step == 6);
        (await fleet.RunAsync([0, 1])).ShouldAllBe(o => o.Failure is StateDivergedException);
        new[] { fleet.State(0).Holds, fleet.State(1).Holds }.ShouldBe([false, false]);
        fleet.Session(1).OnStep = _ => { };
        var path = Path.Combine(_folder, "checkpoints", "4");
        SpinWait.SpinUntil(() => File.Exists(Path.Combine(path, "manifest.json")), World.Patience).ShouldBeTrue("it is written in the background");
        (await fleet.RunAsync([0, 1], (_, place) => place.Options = place.Options with { ResumeFrom = path, ResumeStep = 4, ResumeGeneration = 1 }))
            .ShouldAllBe(o => o.Failure == null);
        var began = fleet.Session(0).Began[^1];
        (began.StartStep, began.Source).ShouldBe((4, "checkpoint 4"));
        began.Lineage.ShouldBe([new StateSegment(1, 0, 4, Digest(from: 0, to: 4))]);
        began.Healed.ShouldBe([1]);
        ShouldBeUndisturbed(fleet);
    }

    [Fact]
    public async Task NobodyIsRightAndThereIsNoCheckpoint_StartsFromTheSeed()
    {
        await using var fleet = await Fleet.StartAsync(Options, 2);
        fleet.Session(1).OnStep = report => Spoil(fleet.State(1), when: report.Step == 2);
        (await fleet.RunAsync([0, 1])).ShouldAllBe(o => o.Failure is StateDivergedException);
        fleet.Session(1).OnStep = _ => { };
        (await fleet.RunAsync([0, 1])).ShouldAllBe(o => o.Failure == null);
        (fleet.Session(0).Began[^1].StartStep, fleet.Session(0).Began[^1].Source).ShouldBe((0, "fresh"));
        ShouldBeUndisturbed(fleet);
    }

    [Fact]
    public async Task ZombieWithMoreSteps_ComesBack_CopiesTheStateOfThoseWhoWentOn()
    {
        await using var fleet = await Fleet.StartAsync(Options, 3);
        fleet.YieldAt(3);
        await fleet.RunAsync([0, 1, 2]);
        fleet.YieldAt(9);
        await fleet.RunAsync([2]);                                               // cut off, and so far ahead of what the run will be
        fleet.YieldAt(5);
        await fleet.RunAsync([0, 1]);                                            // the run, without it
        fleet.State(2).Step.ShouldBe(9);
        fleet.YieldAt(long.MaxValue);
        (await fleet.RunAsync([0, 1, 2])).ShouldAllBe(o => o.Failure == null);
        var began = fleet.Session(0).Began[^1];
        (began.StartStep, began.Source).ShouldBe((5, "memory of generation 3"));
        began.Healed.ShouldBe([2]);
        ShouldBeUndisturbed(fleet);
    }

    [Fact]
    public async Task HealIsBrokenOff_TheReceiverHoldsNothingAndHealsNextTime()
    {
        await using var fleet = await Fleet.StartAsync(Options, 3);
        fleet.YieldAt(3);
        await fleet.RunAsync([0, 1]);
        fleet.YieldAt(long.MaxValue);
        var outcomes = await fleet.RunAsync([0, 1, 2], (trainer, place) => place.Ranks = trainer == 1 ? new NoBarrier(place.Ranks) : place.Ranks);
        outcomes.ShouldAllBe(o => o.Failure != null);
        fleet.State(2).Holds.ShouldBeFalse();
        new[] { fleet.State(0).Step, fleet.State(1).Step, fleet.State(0).Generation }.ShouldBe([3, 3, 1]);
        (await fleet.RunAsync([0, 2])).ShouldAllBe(o => o.Failure == null);
        ShouldBeUndisturbed(fleet);
    }

    [Fact]
    public async Task Heal_ThroughTheCollectiveAlone_IsTheSame()
    {
        var hashes = new List<ulong>();
        foreach (var direct in (bool[])[true, false])
        {
            await using var fleet = await Fleet.StartAsync(Options, 3);
            fleet.YieldAt(3);
            await fleet.RunAsync([0]);
            fleet.YieldAt(long.MaxValue);
            (await fleet.RunAsync([2, 0, 1], (_, place) => place.Ranks = direct ? place.Ranks : new MortalRank(place.Ranks, diesAt: -1)))
                .ShouldAllBe(o => o.Failure == null);
            fleet.Session(2).Began[0].Healed.ShouldBe([0, 2]);
            hashes.Add(fleet.State(1).Hash());
        }

        hashes[1].ShouldBe(hashes[0]);
    }

    [Fact]
    public async Task RunEnded_WithANewTrainer_ItOnlyCopiesTheLastState()
    {
        await using var fleet = await Fleet.StartAsync(Options, 2);
        await fleet.RunAsync([0]);
        var outcomes = await fleet.RunAsync([0, 1]);
        outcomes.ShouldAllBe(o => o.Result!.Step == Options.TotalSteps && !o.Result.Stopped && !o.Result.Yielded);
        fleet.State(1).Hash().ShouldBe(fleet.State(0).Hash());
    }

    /// <summary>The same steps, each once, with the losses of one rank that nothing happened to.</summary>
    private static void ShouldBeUndisturbed(Fleet fleet)
    {
        var session = new RecordedSession();
        TrainingRunTests.Run(Options, new SingleRank(1), session);
        var curve = fleet.Curve();
        curve.Select(s => s.Step).ShouldBe(session.Steps.Select(s => s.Step));
        foreach (var (step, reference) in curve.Zip(session.Steps))
            step.Loss.ShouldBe(reference.Loss, 1e-9 * reference.Loss, $"step {step.Step}");
        var steps = 0L;
        foreach (var segment in fleet.LastState().Lineage.Where(s => s.EndStep > s.StartStep))
        {
            segment.ShouldBe(new StateSegment(segment.Generation, steps, segment.EndStep, Digest(steps, segment.EndStep)), "the images of its steps");
            steps = segment.EndStep;
        }

        steps.ShouldBe(Options.TotalSteps);
    }

    /// <summary>What the images of steps from + 1 to to count for.</summary>
    private static ulong Digest(long from, long to)
    {
        ulong sum = 0;
        for (var lane = 0; lane < Options.LaneCount; lane++)
        {
            for (var position = from * Options.ImagesPerLane; position < to * Options.ImagesPerLane; position++)
                sum += SyntheticViews.DigestOf(lane, position);
        }

        return sum;
    }

    /// <summary>One bit of one weight, as a broken machine flips it.</summary>
    private static void Spoil(TrainState state, bool when)
    {
        if (!when)
            return;
        using var _ = torch.no_grad();
        state.Parameters[3].bytes[0] ^= 1;
    }

    /// <summary>A rank that dies while others copy its state.</summary>
    private sealed class NoBarrier(ICollective inner) : ICollective, IStateTransfer
    {
        public int Rank => inner.Rank;

        public int World => inner.World;

        public long Generation => inner.Generation;

        public IDisposable Offer(StateMemory memory) => throw new Killed();

        public Task FetchAsync(int donor, long offset, long length, StateMemory target, CancellationToken cancellationToken) =>
            ((IStateTransfer)inner).FetchAsync(donor, offset, length, target, cancellationToken);

        public void AllReduceSum(Span<float> buffer) => inner.AllReduceSum(buffer);

        public void AllReduceSum(Span<double> buffer) => inner.AllReduceSum(buffer);

        public Task AllReduceSumAsync(Memory<float> buffer) => inner.AllReduceSumAsync(buffer);

        public void AllGather(ReadOnlySpan<byte> mine, Span<byte> all, ReadOnlySpan<int> counts) => inner.AllGather(mine, all, counts);

        public void Broadcast(Span<byte> buffer, int root) => inner.Broadcast(buffer, root);

        public void Barrier() => inner.Barrier();

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}

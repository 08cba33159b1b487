using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Training;

[Collection(TorchCollection.Name)]
public sealed class TrainingRunTests : IDisposable
{
    internal static readonly TrainOptions Options = new()
    {
        Run = "test",
        GlobalBatch = 12,
        LaneCount = 6,
        FirstLane = 0,
        Lanes = 6,
        ImageSize = 16,
        TotalSteps = 20,
        Precision = Precision.Float32,
        Model = new ResNetOptions { Width = 8, Stem = ResNetStem.SmallStride2 },
        Method = new SimClrOptions { ProjectorHidden = 32, ProjectorOutput = 16 },
        Optimizer = new OptimizerOptions { LearningRate = 0.05 },
        HashEvery = 5,
        BucketBytes = 64 << 10,
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("training").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Execute_OneRank_LowersTheLossAndReportsEveryStep()
    {
        var session = new RecordedSession();
        var result = Run(Options with { TotalSteps = 60 }, new SingleRank(1), session);
        result.ShouldBe(new TrainResult(60, 60, session.Steps[^1].Loss, Stopped: false, Yielded: false, BFloat16: false, CheckpointPath: null));
        session.Steps.Select(s => s.Step).ShouldBe(Enumerable.Range(1, 60).Select(i => (long)i));
        session.Steps.Take(5).Average(s => s.Loss).ShouldBeGreaterThan(1.15 * session.Steps.TakeLast(5).Average(s => s.Loss));
        session.Steps[0].Keys.ShouldBe(["0/0", "0/1", "1/0", "1/1", "2/0", "2/1", "3/0", "3/1", "4/0", "4/1", "5/0", "5/1"]);
        session.Steps.ShouldAllBe(s => s.EmbeddingStd > 0.01 && s.ImagesPerSecond > 0 && s.ExposedCommunication >= TimeSpan.Zero);
        session.Steps.Where(s => s.StateHash is not null).Select(s => s.Step % 5).ShouldAllBe(r => r == 0);
        session.Notes[0].ShouldContain("rank 0 of 1 trains test from step 0 to 60 in float32");
    }

    [Fact]
    public void Execute_OneTwoThreeAndFourRanks_HaveTheSameLosses()
    {
        var expected = Losses(1);
        for (var world = 2; world <= 4; world++)
        {
            foreach (var (loss, reference) in Losses(world).Zip(expected))
                loss.ShouldBe(reference, 1e-4 * reference, $"{world} ranks");
        }
    }

    [Fact]
    public void Execute_GradientsHalved_IsNotTheSame()
    {
        var halved = Losses(2, ranks => new WrongRank(ranks, sum => sum * 0.5f));
        (Math.Abs(halved[1] - Losses(1)[1]) / halved[1]).ShouldBeGreaterThan(1e-3, "the test above would see it");
    }

    [Fact]
    public void Execute_TwoRanksEachNormalisingForItself_HoldTheSameState()
    {
        var sessions = new RecordedSession[2];
        var options = Options with { SyncBatchNorm = false, TotalSteps = 10 };
        ThreadRanks.Run(2, ranks => Run(Share(options, ranks), ranks, sessions[ranks.Rank] = new RecordedSession()));
        sessions[1].Steps.Select(s => s.StateHash).ShouldBe(sessions[0].Steps.Select(s => s.StateHash));
        sessions[0].Steps[9].StateHash.ShouldNotBeNull();
    }

    [Fact]
    public void Execute_BFloat16_TrainsAsFloat32DoesRoughly()
    {
        var session = new RecordedSession();
        Run(Options with { Precision = Precision.BFloat16 }, new SingleRank(1), session);
        session.Notes[0].ShouldContain("bfloat16");
        session.Steps[0].Loss.ShouldBe(Losses(1)[0], 0.05);
    }

    [Fact]
    public void Execute_Float64_OneToThreeRanks_TrainAsOneToTenDigits()
    {
        var options = Options with { Precision = Precision.Float64, TotalSteps = 20 };
        var alone = Train(1);
        foreach (var world in (int[])[2, 3])
        {
            var together = Train(world);
            for (var step = 0; step < alone.Count; step++)
                together[step].ShouldBe(alone[step], 1e-10 * Math.Abs(alone[step]), $"step {step + 1} of {world} ranks");
        }

        IReadOnlyList<double> Train(int world)
        {
            var sessions = new RecordedSession[world];
            ThreadRanks.Run(world, ranks => Run(Share(options, ranks), ranks, sessions[ranks.Rank] = new RecordedSession()));
            sessions[0].Notes[0].ShouldContain("float64");
            return [.. sessions[0].Steps.Select(s => s.Loss)];
        }
    }

    [Fact]
    public void Execute_LearningRateFarTooHigh_EndsWithTheStepAndWhatToTry()
    {
        var wild = Options with { Optimizer = Options.Optimizer with { LearningRate = 1e30, Warmup = 0 } };
        var session = new RecordedSession();
        var thrown = Should.Throw<TrainingDivergedException>(() => Run(wild, new SingleRank(1), session));
        thrown.Step.ShouldBe(session.Steps.Count);
        thrown.Message.ShouldContain($"run 'test', step {session.Steps.Count}:");
        thrown.Message.ShouldContain("the step was not applied. Try a lower optimizer.lr (it was ");
    }

    [Fact]
    public void Execute_StopRequestedOnOneRank_StopsAllAtOneStepWithACheckpoint()
    {
        var options = Options with { RunDirectory = _folder, CheckpointEvery = 0 };
        var results = ThreadRanks.Run(2, ranks => Run(Share(options, ranks), ranks, new RecordedSession { StopAfter = ranks.Rank == 0 ? 12 : 7 }));
        results.ShouldAllBe(r => r.Step == 8 && r.Stopped);
        results[0].CheckpointPath.ShouldBe(Path.Combine(_folder, "checkpoints", "8"));
        results[1].CheckpointPath.ShouldBeNull();
    }

    [Fact]
    public void Execute_WithABudget_FixesTheStepsOnceForAllRanks()
    {
        var options = Options with { TotalSteps = 1_000_000, Budget = TimeSpan.FromSeconds(2), CalibrationSteps = 3 };
        var sessions = new RecordedSession[2];
        var results = ThreadRanks.Run(2, ranks => Run(Share(options, ranks), ranks, sessions[ranks.Rank] = new RecordedSession()));
        results[1].TotalSteps.ShouldBe(results[0].TotalSteps);
        results[0].Step.ShouldBe(results[0].TotalSteps);
        results[0].TotalSteps.ShouldBeLessThan(1_000_000);
        sessions[0].Planned.ShouldBe(results[0].TotalSteps);
        sessions[1].Planned.ShouldBeNull();
        sessions[0].Steps[0].TotalSteps.ShouldBe(1_000_000);
    }

    [Fact]
    public void Execute_RanksWhoseStateDiffers_EndBeforeAnythingIsWritten()
    {
        var thrown = Should.Throw<AggregateException>(() => ThreadRanks.Run(2, ranks =>
            Run(Share(Options, ranks), new WrongRank(ranks, sum => ranks.Rank == 1 ? sum + 1e-3f : sum), new RecordedSession())));
        thrown.InnerException.ShouldBeOfType<StateDivergedException>().Message.ShouldContain("step 5, generation 1: the ranks hold different states (rank 0 ");
    }

    [Fact]
    public void Execute_Cancelled_EndsWithoutACheckpointAndClosesItsSource()
    {
        using var cancel = new CancellationTokenSource();
        cancel.Cancel();
        SyntheticViews? source = null;
        Should.Throw<OperationCanceledException>(() => TrainingRun.Execute(
            Options with { RunDirectory = _folder }, step => source = new SyntheticViews(Options, step), new SingleRank(1), new RecordedSession(), cancel.Token));
        source!.Disposed.ShouldBeTrue();
        Directory.Exists(Path.Combine(_folder, "checkpoints")).ShouldBeFalse();
    }

    [Fact]
    public void Execute_BadOptions_NamesAll()
    {
        var bad = Options with { GlobalBatch = 13, Lanes = 9, ImageSize = 4, Threads = -1, Model = ((ResNetOptions)Options.Model) with { Depth = 19 } };
        var message = Should.Throw<ArgumentException>(() => Run(bad, new SingleRank(1), new RecordedSession())).Message;
        foreach (var part in (string[])["run 'test'", "train.batch: 13 is not divisible into 6 lanes; choose a multiple, such as 18", "more trainers than lanes", "views.size: 4", "local.threads: -1", "resnet19 is not known; expected one of resnet18, resnet34, resnet50"])
            message.ShouldContain(part);
    }

    [Fact]
    public void Execute_LanesMissing_SaysThatTheyAreNotDealtOut() =>
        Should.Throw<ArgumentException>(() => Run(Options with { Lanes = 5 }, new SingleRank(1), new RecordedSession()))
            .Message.ShouldContain("the 1 ranks hold 10 = 10 images of a step, but the global batch is 12");

    /// <summary>Lanes are dealt as evenly as they can be: the first ranks get one more.</summary>
    internal static TrainOptions Share(TrainOptions options, ICollective ranks)
    {
        var (each, more) = (options.LaneCount / ranks.World, options.LaneCount % ranks.World);
        return options with { FirstLane = (ranks.Rank * each) + Math.Min(ranks.Rank, more), Lanes = each + (ranks.Rank < more ? 1 : 0) };
    }

    internal static TrainResult Run(TrainOptions options, ICollective ranks, RecordedSession session) =>
        TrainingRun.Execute(options, step => new SyntheticViews(options, step), ranks, session, CancellationToken.None);

    /// <summary>
    /// The second step shows what the first did to the parameters. In more, float32 rounding grows tenfold per step on this tiny batch, for any
    /// program; that all gradients are right is the exact test of the gradient rule.
    /// </summary>
    internal static readonly TrainOptions Comparable = Options with
    {
        TotalSteps = 2,
        HashEvery = 1,
        Optimizer = new OptimizerOptions { LearningRate = 0.05, Warmup = 0 },
    };

    private static double[] Losses(int world, Func<ICollective, ICollective>? with = null)
    {
        var sessions = new RecordedSession[world];
        ThreadRanks.Run(world, ranks => Run(Share(Comparable, ranks), with?.Invoke(ranks) ?? ranks, sessions[ranks.Rank] = new RecordedSession()));
        foreach (var other in sessions)
            other.Steps.Select(s => (s.Loss, s.StateHash)).ShouldBe(sessions[0].Steps.Select(s => (s.Loss, s.StateHash)), "every rank reports the same");
        return [.. sessions[0].Steps.Select(s => s.Loss)];
    }

    /// <summary>A rank whose sums of gradients are wrong, as on a broken machine or in a broken program. The loss, which rides last, is not.</summary>
    private sealed class WrongRank(ICollective inner, Func<float, float> change) : ChangedRank(inner)
    {
        public override async Task AllReduceSumAsync(Memory<float> buffer)
        {
            await base.AllReduceSumAsync(buffer);
            foreach (ref var sum in buffer.Span[..^StepSums.Count])
                sum = change(sum);
        }
    }
}

using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Commands.Sessions;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Training;

[Collection(TorchCollection.Name)]
public sealed class TrainingWatchTests : IDisposable
{
    private static readonly TrainOptions Options = TrainingRunTests.Options with { TotalSteps = 12, HashEvery = 0 };

    private readonly string _folder = Directory.CreateTempSubdirectory("watch").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Train_WithAndWithoutLooks_HasTheSameLossesToTheBit()
    {
        var without = Train(Options with { Watch = new WatchOptions { Every = 0 } }, world: 2);
        var with = Train(Options with { Watch = new WatchOptions { Every = 1 } }, world: 2);
        with[0].Steps.Select(s => s.Loss).ShouldBe(without[0].Steps.Select(s => s.Loss));
        without[0].Steps.ShouldAllBe(s => s.Health == null);
        with[0].Steps.ShouldAllBe(s => s.Health != null);
        with[1].Steps.ShouldAllBe(s => s.Health == null, "rank 0 judges for all");
    }

    [Fact]
    public void Train_OverThreeRanks_IsJudgedAsOneRankIs()
    {
        var options = Options with { TotalSteps = 4, Precision = Precision.Float64, Watch = new WatchOptions { Every = 2 } };
        var (one, three) = (Train(options, world: 1)[0], Train(options, world: 3)[0]);
        one.Steps.Where(s => s.Health is not null).Select(s => s.Step).ShouldBe([2, 4]);
        foreach (var (a, b) in three.Steps.Zip(one.Steps).Where(pair => pair.Second.Health is not null))
        {
            a.Health!.Std.ShouldBe(b.Health!.Std, 1e-9);
            a.Health.EffectiveRank.ShouldBe(b.Health.EffectiveRank, 1e-6);
            a.Health.Alignment.ShouldBe(b.Health.Alignment, 1e-9);
            a.Health.Uniformity.ShouldBe(b.Health.Uniformity, 1e-9);
            a.Health.Loss.ShouldBe(b.Health.Loss, 1e-9);
        }
    }

    [Theory]
    [InlineData(CollapseAction.Stop)]
    [InlineData(CollapseAction.Pause)]
    [InlineData(CollapseAction.Warn)]
    public void Train_MethodThatMustCollapse_ActsAtEveryThirdLookThatFindsIt(CollapseAction action)
    {
        var options = Options with
        {
            TotalSteps = 150,
            Method = new AttractOptions(),
            Watch = new WatchOptions { Every = 5, Patience = 3, OnCollapse = action },
        };
        var session = new AskedSession();
        TrainingRun.Execute(options, step => new SyntheticViews(options, step), new SingleRank(1), session, CancellationToken.None);
        var looks = session.Steps.Select(s => s.Health).OfType<CollapseReport>().ToList();
        looks[^1].Health.ShouldBe(EmbeddingHealth.Collapsed, looks[^1].ToString());
        looks[^1].Reason.ShouldContain("stop-gradient");
        var collapsed = session.Steps.Where(s => s.Health?.Health == EmbeddingHealth.Collapsed).ToList();
        collapsed.Zip(collapsed.Skip(1)).ShouldAllBe(pair => pair.Second.Step == pair.First.Step + 5, "in a row");
        var settled = collapsed.Where(s => s.Step > options.Optimizer.Warmup * options.TotalSteps);
        var due = action == CollapseAction.Warn ? [] : settled.Index().Where(look => look.Index % 3 == 2).Select(look => (action, $"step {look.Item.Step}: {look.Item.Health!.Verdict}"));
        session.Asked.ShouldBe(due);
    }

    [Fact]
    public void Train_CollapseOverTwoGenerations_CountsOn()
    {
        var options = Options with
        {
            TotalSteps = 150,
            Method = new AttractOptions(),
            Watch = new WatchOptions { Every = 5, Patience = 3, OnCollapse = CollapseAction.Pause },
        };
        var session = new AskedSession();
        List<StepReport> Collapsed() => [.. session.Steps.Where(s => s.Health?.Health == EmbeddingHealth.Collapsed && s.Step > options.Optimizer.Warmup * options.TotalSteps)];
        using var state = TrainState.Prepare(options, TorchStack.Current);
        void Generation(int number) => TrainingRun.Generation(options, state, step => new SyntheticViews(options, step), new SingleRank(number), session, CancellationToken.None);

        session.Yields = () => Collapsed().Count == 2;
        Generation(1);
        Collapsed().Count.ShouldBe(2);
        session.Asked.ShouldBeEmpty();
        session.Yields = () => session.Asked.Count > 0;
        Generation(2);
        session.Asked.ShouldBe([(CollapseAction.Pause, $"step {Collapsed()[2].Step}: {Collapsed()[2].Health!.Verdict}")]);
    }

    [Fact]
    public void Train_FrozenEpochAndFewImages_AreNotJudged()
    {
        var frozen = new AskedSession();
        var clusters = Options with { DatasetImages = 48, Watch = new WatchOptions { Every = 1 }, Method = new DeepClusterV2Options { Prototypes = 4, ProjectorHidden = 24, ProjectorOutput = 10 } };
        TrainingRun.Execute(clusters, step => new SyntheticViews(clusters, step), new SingleRank(1), frozen, CancellationToken.None);
        frozen.Steps.Where(s => s.Health is not null).Select(s => s.Step).ShouldBe(Enumerable.Range(5, 8).Select(i => (long)i), "the first epoch, four steps, trains nothing");

        var few = new AskedSession();
        var six = Options with { GlobalBatch = 6, Watch = new WatchOptions { Every = 1 } };
        TrainingRun.Execute(six, step => new SyntheticViews(six, step), new SingleRank(1), few, CancellationToken.None);
        few.Steps.ShouldAllBe(s => s.Health == null);
    }

    [Fact]
    public void WatchLog_LooksAndAResume_KeepsTheRowsOfStepsThatStay()
    {
        var path = Path.Combine(_folder, "watch.csv");
        var found = new CollapseReport(0.25, 7.5, 0.1, -3, EmbeddingHealth.Warning, "embeddings use few dimensions, lower optimizer.lr", 0.9, 5.5, Participation: 1.5);
        var report = Train(Options with { TotalSteps = 1 }, world: 1)[0].Steps[0];
        WatchLog.Begin(path, startStep: 0);
        foreach (var step in (long[])[50, 100, 150])
            WatchLog.Append(path, report with { Step = step, Health = found });
        WatchLog.Append(path, report with { Step = 151, Health = null });
        WatchLog.Begin(path, startStep: 100);
        WatchLog.Read(path).Select(row => row.Step).ShouldBe([50, 100]);
        WatchLog.Read(path).Last().Verdict.ShouldBe("warning: embeddings use few dimensions, lower optimizer.lr");
        File.ReadAllLines(path)[1].ShouldBe("50,5.5,0.25000,0.900,7.50,1.500,0.1000,-3.0000,\"warning: embeddings use few dimensions, lower optimizer.lr\"");
        File.AppendAllText(path, "200,5.5,0.2");
        WatchLog.Read(path).Count().ShouldBe(2, "a row that was cut off is none");
        WatchLog.Read(Path.Combine(_folder, "absent.csv")).ShouldBeEmpty();
    }

    private static RecordedSession[] Train(TrainOptions options, int world)
    {
        var sessions = Enumerable.Range(0, world).Select(_ => new RecordedSession()).ToArray();
        ThreadRanks.Run(world, ranks =>
        {
            var mine = TrainingRunTests.Share(options, ranks);
            return TrainingRun.Execute(mine, step => new SyntheticViews(mine, step), ranks, sessions[ranks.Rank], CancellationToken.None);
        });
        return sessions;
    }

    private sealed class AskedSession : ITrainingSession
    {
        public List<StepReport> Steps { get; } = [];

        public List<(CollapseAction Action, string Reason)> Asked { get; } = [];

        public Func<bool> Yields { get; set; } = () => false;

        public bool StopRequested => false;

        public bool YieldRequested => Yields();

        public void StepsPlanned(long totalSteps)
        {
        }

        public void StepApplied(StepReport report) => Steps.Add(report);

        public void Collapsed(CollapseAction action, string reason) => Asked.Add((action, reason));

        public Task PublishCheckpointAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken) => Task.CompletedTask;

        public void Note(string message)
        {
        }
    }

    /// <summary>Every embedding is drawn to every other, of whatever image: one point is the best there is.</summary>
    private sealed record AttractOptions : MethodOptions
    {
        public override string Name => "attract";

        public override MethodOptions Read(IOptionReader given) => this;

        public override IMethod Create(MethodSetup setup) => new Attract(this, setup);
    }

    private sealed class Attract : JointEmbedding
    {
        private readonly Mlp _g;

        public Attract(AttractOptions options, MethodSetup setup)
            : base(options, setup) => _g = Part("projector", new Mlp(Backbone.Features, [16], Norm, MlpEnd.Linear));

        public override MethodLoss Loss(Tensor x)
        {
            var z = Unit(Through(x, Backbone, _g));
            return new MethodLoss(-z.matmul(z.t()).mean() * Share.Count / Share.Total, z.detach());
        }

        public override Tensor Energy(Tensor x, Tensor y) => 1 - (Unit(Through(x, Backbone, _g)) * Unit(Through(y, Backbone, _g))).sum(1);
    }
}

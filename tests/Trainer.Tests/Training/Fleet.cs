using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Training;

/// <summary>Trainers of one run in this process, each with a state and a port of its own, that live through generations of any membership.</summary>
internal sealed class Fleet : IAsyncDisposable
{
    private readonly TrainOptions _options;
    private readonly List<Member> _members = [];
    private long _generation;

    private Fleet(TrainOptions options) => _options = options;

    public static async Task<Fleet> StartAsync(TrainOptions options, int trainers)
    {
        var fleet = new Fleet(options);
        for (var i = 0; i < trainers; i++)
            fleet._members.Add(new Member(TrainState.Prepare(options, TorchStack.Current), await PeerServer.StartAsync()));
        return fleet;
    }

    public TrainState State(int trainer) => _members[trainer].State;

    public FleetSession Session(int trainer) => _members[trainer].Session;

    /// <summary>Every step that was applied and stayed, in order: of each step the last generation that made it.</summary>
    public IReadOnlyList<StepReport> Curve() =>
        [.. _members.SelectMany(m => m.Session.Steps).GroupBy(s => s.Report.Step).OrderBy(s => s.Key).Select(s => s.MaxBy(r => r.Generation)!.Report)];

    /// <summary>The state of a trainer of the newest generation.</summary>
    public TrainState LastState() => _members.MaxBy(m => m.State.Generation)!.State;

    /// <summary>Runs one generation of these trainers, in rank order, until it ends for all.</summary>
    /// <param name="trainers">Its members.</param>
    /// <param name="change">Changes what a trainer (not a rank) sees; null: nothing.</param>
    public async Task<Outcome[]> RunAsync(int[] trainers, Action<int, Place>? change = null)
    {
        var generation = ++_generation;
        var addresses = trainers.Select(t => _members[t].Server.Address).ToArray();
        var ranks = await Task.WhenAll(trainers.Select(async (t, rank) => trainers.Length == 1
            ? (ICollective)new SingleRank(generation)
            : await GrpcCollective.ConnectAsync(_members[t].Server, new CollectiveOptions { Generation = generation, Rank = rank, Peers = addresses })));
        var outcomes = await Task.WhenAll(trainers.Select((t, rank) => Task.Factory.StartNew(() =>
        {
            var place = new Place { Options = TrainingRunTests.Share(_options, ranks[rank]), Ranks = ranks[rank] };
            change?.Invoke(t, place);
            var session = _members[t].Session;
            session.Generation = generation;
            try
            {
                IViewSource Open(long step) => place.Views(new SyntheticViews(place.Options, step));
                return new Outcome(TrainingRun.Generation(place.Options, _members[t].State, Open, place.Ranks, session, CancellationToken.None), null);
            }
            catch (Exception e)
            {
                (ranks[rank] as GrpcCollective)?.Abort(e.Message, e is Killed ? rank : null, e);
                return new Outcome(null, e);
            }
        }, TaskCreationOptions.LongRunning)));
        foreach (var rank in ranks)
            await rank.DisposeAsync();
        return outcomes;
    }

    /// <summary>All leave after this many updates.</summary>
    public void YieldAt(long step) => _members.ForEach(m => m.Session.YieldAt = step);

    public async ValueTask DisposeAsync()
    {
        foreach (var member in _members)
        {
            member.State.Dispose();
            await member.Server.DisposeAsync();
        }
    }

    /// <summary>How a generation ended for a trainer.</summary>
    public sealed record Outcome(TrainResult? Result, Exception? Failure);

    /// <summary>What a trainer gets of a generation.</summary>
    public sealed class Place
    {
        public required TrainOptions Options { get; set; }

        public required ICollective Ranks { get; set; }

        public Func<IViewSource, IViewSource> Views { get; set; } = views => views;
    }

    private sealed record Member(TrainState State, PeerServer Server)
    {
        public FleetSession Session { get; } = new();
    }
}

/// <summary>A trainer that is no more.</summary>
internal sealed class Killed() : Exception("killed by the test");

/// <summary>Keeps what a trainer reports, over all its generations.</summary>
internal sealed class FleetSession : ITrainingSession
{
    private long _step;

    public long Generation { get; set; }

    public long YieldAt { get; set; } = long.MaxValue;

    public Action<StepReport> OnStep { get; set; } = _ => { };

    public List<(long Generation, StepReport Report)> Steps { get; } = [];

    public List<GenerationReport> Began { get; } = [];

    public List<string> Notes { get; } = [];

    public Trainer.Banks.IBankFeed? Banks { get; set; }

    public bool StopRequested => false;

    public bool YieldRequested => _step + 1 >= YieldAt;

    public void GenerationBegan(GenerationReport report)
    {
        _step = report.StartStep;
        Began.Add(report);
    }

    public void StepsPlanned(long totalSteps)
    {
    }

    public void StepApplied(StepReport report)
    {
        _step = report.Step;
        Steps.Add((Generation, report));
        OnStep(report);
    }

    public Task PublishCheckpointAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken) => Task.CompletedTask;

    public void Note(string message) => Notes.Add(message);
}

/// <summary>Batches up to a step at which the trainer dies.</summary>
internal sealed class MortalViews(IViewSource inner, long diesAt) : IViewSource
{
    public async ValueTask<IViewBatch> ReadAsync(CancellationToken cancellationToken)
    {
        var batch = await inner.ReadAsync(cancellationToken);
        return batch.Step < diesAt ? batch : throw new Killed();
    }

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}

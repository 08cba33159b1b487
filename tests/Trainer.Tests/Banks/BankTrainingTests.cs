using System.Collections.Concurrent;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Collectives;
using DarkMatter.Trainer.Tests.Methods;
using DarkMatter.Trainer.Tests.Training;
using DarkMatter.Trainer.Training;
using Grpc.Core;

namespace DarkMatter.Trainer.Tests.Banks;

/// <summary>MoCo on ranks that are killed and replaced, over real streams: one queue everywhere after every step, and the same in the silo.</summary>
[Collection(TorchCollection.Name)]
public sealed class BankTrainingTests
{
    private static readonly TrainOptions Options = TrainingRunTests.Options with
    {
        Precision = Precision.Float64,
        TotalSteps = 14,
        HashEvery = 1,
        DatasetImages = 50,
    };

    private readonly ConcurrentDictionary<(long Generation, long Step), ConcurrentDictionary<int, ulong>> _hashes = [];

    [Theory]
    [InlineData(2, 0, false)]
    [InlineData(4, 0, false)]
    [InlineData(4, 2, false)]
    [InlineData(2, 1, true)]
    public async Task RankKilledAndReplaced_EveryRankHasOneQueueAfterEveryStep(int world, int staleness, bool float16)
    {
        var options = WithMoCo(staleness, float16);
        await using var fleet = await Fleet.StartAsync(options, world + 1);
        Watch(fleet, world + 1);
        await KillAndReplaceAsync(fleet, world);
        (await fleet.RunAsync([.. Enumerable.Range(0, world + 1).Where(t => t != 1)])).ShouldAllBe(o => o.Failure == null && o.Result!.Step == options.TotalSteps);

        foreach (var ((generation, step), ranks) in _hashes)
            ranks.Values.Distinct().Count().ShouldBe(1, $"generation {generation}, step {step}");
        _hashes.Where(h => h.Value.Count == world).Select(h => h.Key.Step).ShouldContain(options.TotalSteps);
        await using var undisturbed = await Fleet.StartAsync(options, 1);
        await undisturbed.RunAsync([0]);
        var expected = Queue(undisturbed.State(0));
        foreach (var (i, key) in Queue(fleet.LastState()).Index())
            key.ShouldBe(expected[i], float16 ? 2e-3 : 1e-5, $"element {i}");
    }

    [Fact]
    public async Task RankKilled_TheSiloHasTheQueueThatTheRanksHave_AndReadersGetWhatChanged()
    {
        var options = WithMoCo(staleness: 0, float16: false);
        await using var silo = await BankSilo.StartAsync();
        await using var fleet = await Fleet.StartAsync(options, 3);
        await using var feeds = new Feeds(silo, fleet, 3);
        await silo.NextGenerationAsync();
        var reader = new BankReader(silo.Client, BankSilo.Run, "queue");
        fleet.Session(0).OnStep = report => UntilAsync(reader, step => step >= 0 || report.Step != 4).GetAwaiter().GetResult();
        await fleet.RunAsync([0, 1], (trainer, place) => place.Views = views => trainer == 1 ? new MortalViews(views, diesAt: 6) : views);
        reader.Step.ShouldBeInRange(0, 6);
        await silo.NextGenerationAsync();
        fleet.Session(0).OnStep = report => UntilAsync(reader, step => step >= 7 || report.Step != 12).GetAwaiter().GetResult();
        (await fleet.RunAsync([2, 0])).ShouldAllBe(o => o.Failure == null);      // the new trainer is rank 0, and has nothing of before
        await UntilAsync(reader, step => step == options.TotalSteps);
        reader.Rows.ShouldBe(Bank(fleet.State(0)).Snapshot(0, 24).Rows);
        reader.Received.ShouldBeLessThanOrEqualTo(24);
        await reader.ReadAsync(World.Patience, CancellationToken.None);
        reader.Received.ShouldBe(0, "nothing changed since");
    }

    [Fact]
    public async Task SiloRestarted_TheTrainersGiveItTheRowsAgain()
    {
        var options = WithMoCo(staleness: 0, float16: true) with { TotalSteps = 100_000 };
        await using var silo = await BankSilo.StartAsync();
        await using var fleet = await Fleet.StartAsync(options, 2);
        await using var feeds = new Feeds(silo, fleet, 2);
        await silo.NextGenerationAsync();
        var reader = new BankReader(silo.Client, BankSilo.Run, "queue");
        long restarted = 0;
        fleet.Session(0).OnStep = report =>
        {
            if (report.Step == 10)
            {
                silo.RestartAsync().GetAwaiter().GetResult();
                restarted = report.Step;
            }
            else if (restarted > 0 && report.Step % 5 == 0 && Now(reader).GetAwaiter().GetResult() > restarted)
            {
                fleet.YieldAt(report.Step + 2);
            }
        };
        var outcomes = await fleet.RunAsync([0, 1]).WaitAsync(World.Patience);
        outcomes.ShouldAllBe(o => o.Failure == null);
        await UntilAsync(reader, step => step == fleet.State(0).Step);
        reader.Rows.ShouldBe(Bank(fleet.State(0)).Snapshot(0, 24).Rows);
        reader.RowBytes.ShouldBe(2 * 16);
    }

    [Fact]
    public async Task Feed_OfAGenerationThatIsOver_OrUnknown_IsRefused()
    {
        await using var silo = await BankSilo.StartAsync();
        await silo.NextGenerationAsync();
        var now = await silo.NextGenerationAsync();
        using var call = silo.Client.Feed();
        async Task<Protocol.BankState> Ask(Protocol.BankMessage message)
        {
            (message.Run, message.Bank) = (BankSilo.Run, "queue");
            await call.RequestStream.WriteAsync(message);
            (await call.ResponseStream.MoveNext(CancellationToken.None)).ShouldBeTrue();
            return call.ResponseStream.Current;
        }

        Protocol.BankMessage Open(long generation) => new() { Generation = generation, Open = new Protocol.BankOpening { Rows = 8, RowBytes = 4, Lanes = 1 } };
        var ahead = await Ask(Open(now + 1));
        ((StatusCode)ahead.Refusal, ahead.Message).ShouldBe((StatusCode.FailedPrecondition, $"run 'test' has no generation {now + 1}; its newest is {now}"));
        (await Ask(Open(now))).Wanted.ShouldBe([0]);
        ((StatusCode)(await Ask(Open(now - 1))).Refusal).ShouldBe(StatusCode.Aborted);
        var late = await Ask(new Protocol.BankMessage { Generation = now - 1, Step = 1, Append = new Protocol.BankAppend() });
        late.Message.ShouldContain("this trainer no longer belongs to the run");
        (await Should.ThrowAsync<RpcException>(() => new BankReader(silo.Client, BankSilo.Run, "none").ReadAsync(World.Patience, CancellationToken.None)))
            .StatusCode.ShouldBe(StatusCode.NotFound);
    }

    private static TrainOptions WithMoCo(int staleness, bool float16) => Options with
    {
        Method = new MoCoOptions { Queue = 24, ProjectorOutput = 16, ShuffleGroups = 4, Momentum = 0.9, Bank = new BankOptions { Staleness = staleness, Float16 = float16 } },
    };

    private static Bank Bank(TrainState state) => state.Banks.ShouldHaveSingleItem().Bank;

    private static double[] Queue(TrainState state) => SmallMethods.Doubles(((KeyQueue)Bank(state)).Keys(TorchSharp.torch.ScalarType.Float64));

    /// <summary>Rank 1 dies in step 6; the others go on to step 10, where a new trainer joins them.</summary>
    private static async Task KillAndReplaceAsync(Fleet fleet, int world)
    {
        var outcomes = await fleet.RunAsync([.. Enumerable.Range(0, world)], (trainer, place) => place.Views = views => trainer == 1 ? new MortalViews(views, diesAt: 6) : views);
        outcomes[1].Failure.ShouldBeOfType<Killed>();
        fleet.YieldAt(10);
        (await fleet.RunAsync([.. Enumerable.Range(0, world).Where(t => t != 1)])).ShouldAllBe(o => o.Failure == null && o.Result!.Step == 10);
        fleet.YieldAt(long.MaxValue);
    }

    private void Watch(Fleet fleet, int trainers)
    {
        for (var t = 0; t < trainers; t++)
        {
            var trainer = t;
            fleet.Session(t).OnStep = report =>
                _hashes.GetOrAdd((fleet.Session(trainer).Generation, report.Step), _ => []).TryAdd(trainer, Bank(fleet.State(trainer)).Hash());
        }
    }

    private static async Task<long> Now(BankReader reader)
    {
        try
        {
            await reader.ReadAsync(World.Patience, CancellationToken.None);
            return reader.Step;
        }
        catch (RpcException)
        {
            return -1;                                                           // the silo does not know of the bank yet
        }
    }

    private static async Task UntilAsync(BankReader reader, Func<long, bool> condition)
    {
        using var deadline = new CancellationTokenSource(World.Patience);
        while (!condition(await Now(reader)))
            await Task.Delay(20, deadline.Token);
    }

    /// <summary>Every trainer's feed.</summary>
    private sealed class Feeds : IAsyncDisposable
    {
        private readonly List<SiloBankFeed> _feeds = [];

        public Feeds(BankSilo silo, Fleet fleet, int trainers)
        {
            for (var t = 0; t < trainers; t++)
            {
                _feeds.Add(new SiloBankFeed(silo.Client, BankSilo.Run, fleet.Session(t).Notes.Add));
                fleet.Session(t).Banks = _feeds[t];
            }
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var feed in _feeds)
                await feed.DisposeAsync();
        }
    }
}

using System.Collections.Concurrent;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Collectives;
using DarkMatter.Trainer.Tests.Methods;
using DarkMatter.Trainer.Tests.Training;
using DarkMatter.Trainer.Training;
using Grpc.Core;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Banks;

/// <summary>MoCo and PIRL on ranks that are killed and replaced, over real streams: one bank everywhere after every step, and the same in the silo.</summary>
[Collection(TorchCollection.Name)]
public sealed class BankTrainingTests : IDisposable
{
    private const int D = 16, Images = 50;

    /// <summary>Enough to see what travels in each.</summary>
    private const int FewSteps = 3;

    /// <summary>Updates before a rank dies, and before it is replaced.</summary>
    private const long Dies = 6, Replaced = 10;

    private static readonly TrainOptions Options = TrainingRunTests.Options with
    {
        Precision = Precision.Float64,
        TotalSteps = 14,
        HashEvery = 1,
        DatasetImages = Images,
    };

    private readonly ConcurrentDictionary<(long Generation, long Step), ConcurrentDictionary<int, ulong>> _hashes = [];
    private readonly string _folder = Directory.CreateTempSubdirectory("bank-training").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("moco", 2, 0, false)]
    [InlineData("moco", 4, 0, false)]
    [InlineData("moco", 4, 2, false)]
    [InlineData("moco", 2, 1, true)]
    [InlineData("pirl", 2, 0, false)]
    [InlineData("pirl", 3, 2, false)]
    [InlineData("pirl", 2, 1, true)]
    public async Task RankKilledAndReplaced_EveryRankHasOneBankAfterEveryStep(string method, int world, int staleness, bool float16)
    {
        var options = With(method, staleness, float16);
        await using var fleet = await Fleet.StartAsync(options, world + 1);
        await ShouldSurviveAsync(fleet, options, world);
        await using var undisturbed = await Fleet.StartAsync(options, 1);
        await undisturbed.RunAsync([0]);
        var expected = Rows(undisturbed.State(0));
        foreach (var (i, key) in Rows(fleet.LastState()).Index())
            key.ShouldBe(expected[i], float16 ? 2e-3 : 1e-5, $"element {i}");
    }

    /// <summary>As runs train: there rounding grows over worlds within steps, so it is only the ranks that agree.</summary>
    [Theory]
    [InlineData("moco", 2)]
    [InlineData("moco", 3)]
    [InlineData("pirl", 2)]
    [InlineData("pirl", 3)]
    public async Task Float16BankInFloat32_RankKilledAndReplaced_IsOneBankAfterEveryStep(string method, int world)
    {
        var options = With(method, staleness: 1, float16: true) with { Precision = Precision.Float32 };
        await using var fleet = await Fleet.StartAsync(options, world + 1);
        await ShouldSurviveAsync(fleet, options, world);
        ShouldBeFloat16(Bank(fleet.LastState()));
    }

    [Theory]
    [InlineData("moco", 2)]
    [InlineData("moco", 3)]
    [InlineData("pirl", 2)]
    [InlineData("pirl", 3)]
    public async Task Float16Bank_InFloat32_TravelsAndIsKeptInHalfTheBytes(string method, int world)
    {
        var (half, _) = await GatheredAsync(method, world, float16: true);
        var (whole, onGrid) = await GatheredAsync(method, world, float16: false);
        (whole - half).ShouldBe(FewSteps * Options.GlobalBatch * D * (sizeof(float) - 2));
        onGrid.ShouldBeFalse("this test would see rows that were not rounded");
    }

    /// <summary>What a checkpoint holds are the rows that training has, whatever the networks compute in.</summary>
    [Theory]
    [InlineData("moco", Precision.Float32, "queue.keys")]
    [InlineData("pirl", Precision.Float32, "memory.rows_0")]
    [InlineData("pirl", Precision.Float64, "memory.rows_0")]
    public void Float16Bank_ResumedFromACheckpoint_GoesOnBitForBit(string method, Precision precision, string rows)
    {
        var options = With(method, staleness: 1, float16: true) with { Precision = precision, RunDirectory = _folder, CheckpointEvery = 5, TotalSteps = 9 };
        var (whole, rest) = (new RecordedSession(), new RecordedSession());
        TrainingRunTests.Run(options, new SingleRank(1), whole);
        var checkpoint = Path.Combine(_folder, "checkpoints", "5");
        using (var parts = SafetensorsParts.Open([Path.Combine(checkpoint, "model.safetensors")]))
            parts.Find(rows).ShouldNotBeNull().Type.ShouldBe(SafetensorsType.Float16);
        TrainingRunTests.Run(options with { ResumeFrom = checkpoint, RunDirectory = null }, new SingleRank(2), rest);
        rest.Steps.Select(s => (s.Step, s.StateHash)).ShouldBe(whole.Steps.Skip(5).Select(s => (s.Step, s.StateHash)));
    }

    [Fact]
    public async Task RankKilled_TheSiloHasTheQueueThatTheRanksHave_AndReadersGetWhatChanged()
    {
        var options = With("moco", staleness: 0, float16: false);
        await using var silo = await BankSilo.StartAsync();
        await using var fleet = await Fleet.StartAsync(options, 3);
        await using var feeds = new Feeds(silo, fleet, 3);
        await silo.NextGenerationAsync();
        var reader = new BankReader(silo.Client, BankSilo.Run, "queue");
        fleet.Session(0).OnStep = report => reader.UntilAsync(step => step >= 0 || report.Step != 4).GetAwaiter().GetResult();
        await fleet.RunAsync([0, 1], (trainer, place) => place.Views = views => trainer == 1 ? new MortalViews(views, diesAt: 6) : views);
        reader.Step.ShouldBeInRange(0, 6);
        await silo.NextGenerationAsync();
        fleet.Session(0).OnStep = report => reader.UntilAsync(step => step >= 7 || report.Step != 12).GetAwaiter().GetResult();
        (await fleet.RunAsync([2, 0])).ShouldAllBe(o => o.Failure == null);      // the new trainer is rank 0, and has nothing of before
        await reader.UntilAsync(step => step == options.TotalSteps);
        reader.Rows.ShouldBe(Bank(fleet.State(0)).Snapshot(0, 24).Rows);
        reader.Received.ShouldBeLessThanOrEqualTo(24);
        await reader.ReadAsync(World.Patience, CancellationToken.None);
        reader.Received.ShouldBe(0, "nothing changed since");
    }

    [Fact]
    public async Task SiloRestarted_TheTrainersGiveItTheRowsAgain()
    {
        var options = With("moco", staleness: 0, float16: true) with { TotalSteps = 100_000 };
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
            else if (restarted > 0 && report.Step % 5 == 0 && reader.Now().GetAwaiter().GetResult() > restarted)
            {
                fleet.YieldAt(report.Step + 2);
            }
        };
        var running = fleet.RunAsync([0, 1]);
        await Task.WhenAny(running, Task.Delay(World.Patience));
        fleet.YieldAt(0);                                                         // in any case: trainers must not outlive the test
        (await running.WaitAsync(World.Patience)).ShouldAllBe(o => o.Failure == null);
        await reader.UntilAsync(step => step == fleet.State(0).Step);
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

    private static TrainOptions With(string method, int staleness, bool float16)
    {
        var bank = new BankOptions { Staleness = staleness, Float16 = float16 };
        return method == "moco"
            ? Options with { Method = new MoCoOptions { Queue = 24, ProjectorOutput = D, ShuffleGroups = 4, Momentum = 0.9, Bank = bank } }
            : Options with { Method = new PirlOptions { Negatives = 20, ProjectorOutput = D, Temperature = 0.3, Bank = bank }, ImageSize = 24 };
    }

    private static Bank Bank(TrainState state) => state.Banks.ShouldHaveSingleItem().Bank;

    private static double[] Rows(TrainState state) => SmallMethods.Doubles(Bank(state) switch
    {
        KeyQueue queue => queue.Keys(ScalarType.Float64),
        ImageMemory memory => memory.Rows(0, Images, ScalarType.Float64),
        var other => throw new ArgumentException($"{other} has other rows", nameof(state)),
    });

    private static void ShouldBeFloat16(Bank bank) =>
        bank.named_buffers().Where(b => b.buffer.is_floating_point()).ShouldAllBe(b => b.buffer.dtype == ScalarType.Float16);

    /// <summary>Bytes that a rank gathers in all steps, and whether every number of its bank is one of float16.</summary>
    private static async Task<(long Bytes, bool OnGrid)> GatheredAsync(string method, int world, bool float16)
    {
        var options = With(method, staleness: 0, float16) with { Precision = Precision.Float32, TotalSteps = FewSteps };
        await using var fleet = await Fleet.StartAsync(options, world);
        var counts = new CountingRank[world];
        (await fleet.RunAsync([.. Enumerable.Range(0, world)], (trainer, place) => place.Ranks = counts[trainer] = new CountingRank(place.Ranks)))
            .ShouldAllBe(o => o.Failure == null && o.Result!.Step == options.TotalSteps);
        counts.Select(c => c.Gathered).Distinct().Count().ShouldBe(1, "every rank gathers the same");
        var onGrid = Rows(fleet.State(0)).All(x => (double)(Half)x == x);
        if (float16)
        {
            ShouldBeFloat16(Bank(fleet.State(0)));
            onGrid.ShouldBeTrue();
        }

        return (counts[0].Gathered, onGrid);
    }

    /// <summary>Rank 1 dies in step 6; the others go on to step 10, where a new trainer joins them; every rank of each step has the others' bank.</summary>
    private async Task ShouldSurviveAsync(Fleet fleet, TrainOptions options, int world)
    {
        for (var t = 0; t <= world; t++)
        {
            var trainer = t;
            fleet.Session(t).OnStep = report =>
                _hashes.GetOrAdd((fleet.Session(trainer).Generation, report.Step), _ => []).TryAdd(trainer, Bank(fleet.State(trainer)).Hash());
        }

        int[] survivors = [.. Enumerable.Range(0, world).Where(t => t != 1)];
        var outcomes = await fleet.RunAsync([.. Enumerable.Range(0, world)], (trainer, place) => place.Views = views => trainer == 1 ? new MortalViews(views, Dies) : views);
        outcomes[1].Failure.ShouldBeOfType<Killed>();
        fleet.YieldAt(Replaced);
        (await fleet.RunAsync(survivors)).ShouldAllBe(o => o.Failure == null && o.Result!.Step == Replaced);
        fleet.YieldAt(long.MaxValue);
        (await fleet.RunAsync([.. survivors, world])).ShouldAllBe(o => o.Failure == null && o.Result!.Step == options.TotalSteps);

        for (var step = 1L; step <= options.TotalSteps; step++)
        {
            var (generation, ranks) = step <= Dies ? (1L, world) : step <= Replaced ? (2L, world - 1) : (3L, world);
            var hashes = _hashes[(generation, step)].Values;
            (hashes.Count, hashes.Distinct().Count()).ShouldBe((ranks, 1), $"step {step}");
        }
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

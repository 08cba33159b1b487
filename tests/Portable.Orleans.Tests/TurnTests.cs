using Orleans;
using Orleans.Concurrency;

namespace DarkMatter.Portable.Orleans.Tests;

public interface ITurnGrain : IGrainWithStringKey
{
    /// <summary>Notes that it started, waits at the gate of its name, notes that it ended.</summary>
    Task Work(string name);

    [ReadOnly]
    Task Look(string name);

    [AlwaysInterleave]
    Task Ping();

    [AlwaysInterleave]
    Task Aside(string name);

    Task<int> CountInSteps(int steps);

    Task CallBack(string other);

    Task<bool> ContinuesOnItsScheduler();
}

public interface IReentrantTurnGrain : ITurnGrain;

public class TurnGrain(Probe probe) : Grain, ITurnGrain
{
    private int _count;

    public Task Work(string name) => Step(name);

    public Task Look(string name) => Step(name);

    public Task Ping() => Task.CompletedTask;

    public Task Aside(string name) => Step(name);

    // Unsafe unless turns are single-threaded and exclusive: read, give others a chance, write.
    public async Task<int> CountInSteps(int steps)
    {
        for (int i = 0; i < steps; i++)
        {
            int seen = _count;
            await Task.Yield();
            _count = seen + 1;
        }

        return _count;
    }

    public async Task CallBack(string other)
    {
        probe.Note("calling");
        await GrainFactory.GetGrain<ITurnGrain>(other, typeof(TurnGrain).FullName).CallBack(this.GetPrimaryKeyString());
    }

    public async Task<bool> ContinuesOnItsScheduler()
    {
        var scheduler = TaskScheduler.Current;
        await Task.Yield();
        bool same = scheduler == TaskScheduler.Current;
        await Task.Run(() => { });
        same &= scheduler == TaskScheduler.Current;
        await GrainFactory.GetGrain<ITurnGrain>("somebody", typeof(TurnGrain).FullName).Ping();
        return same && scheduler == TaskScheduler.Current && scheduler != TaskScheduler.Default;
    }

    private async Task Step(string name)
    {
        probe.Note($"{name} starts");
        await probe.Pass(name);
        probe.Note($"{name} ends");
    }
}

[Reentrant]
public sealed class ReentrantTurnGrain(Probe probe) : TurnGrain(probe), IReentrantTurnGrain;

public sealed class TurnTests
{
    private static ITurnGrain Plain(TestSilo silo, string key = "x") =>
        silo.Client.GetGrain<ITurnGrain>(key, typeof(TurnGrain).FullName);

    [Fact]
    public async Task Calls_ToOneGrain_RunOneAfterTheOtherInOrder()
    {
        await using var silo = await TestSilo.Start();
        var grain = Plain(silo);
        var a = grain.Work("a");
        await silo.Probe.Saw("a starts");
        var b = grain.Work("b");
        var c = grain.Work("c");
        await grain.Ping(); // Sent after b and c, so both have arrived.
        silo.Probe.Events.ShouldBe(["a starts"]);

        silo.Probe.Open("c");
        silo.Probe.Open("b");
        await grain.Ping();
        silo.Probe.Events.ShouldBe(["a starts"]);

        silo.Probe.Open("a");
        await Task.WhenAll(a, b, c).Soon();
        silo.Probe.Events.ShouldBe(["a starts", "a ends", "b starts", "b ends", "c starts", "c ends"]);
    }

    [Fact]
    public async Task Calls_ToReentrantGrain_Interleave()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<IReentrantTurnGrain>("x");
        var a = grain.Work("a");
        var b = grain.Work("b");
        await silo.Probe.Saw("a starts");
        await silo.Probe.Saw("b starts");
        silo.Probe.Open("b");
        await b.Soon();
        a.IsCompleted.ShouldBeFalse();
        silo.Probe.Open("a");
        await a.Soon();
    }

    [Fact]
    public async Task ReadOnlyCalls_InterleaveWithEachOtherButNotWithWriters()
    {
        await using var silo = await TestSilo.Start();
        var grain = Plain(silo);
        var l1 = grain.Look("l1");
        await silo.Probe.Saw("l1 starts");
        var w = grain.Work("w");
        var l2 = grain.Look("l2");
        await silo.Probe.Saw("l2 starts");
        silo.Probe.Open("l1");
        await l1.Soon();
        await grain.Ping();
        silo.Probe.Events.ShouldNotContain("w starts");

        silo.Probe.Open("l2");
        await silo.Probe.Saw("w starts");
        var l3 = grain.Look("l3");
        await grain.Ping();
        silo.Probe.Events.ShouldNotContain("l3 starts");
        silo.Probe.OpenAll();
        await Task.WhenAll(l2, w, l3).Soon();
    }

    [Fact]
    public async Task RunningInterleavingCall_BlocksNobody()
    {
        await using var silo = await TestSilo.Start();
        var grain = Plain(silo);
        var aside = grain.Aside("aside");
        await silo.Probe.Saw("aside starts");
        var a = grain.Work("a");
        await silo.Probe.Saw("a starts");
        var b = grain.Work("b");
        await grain.Ping();
        silo.Probe.Events.ShouldNotContain("b starts");
        silo.Probe.OpenAll();
        await Task.WhenAll(aside, a, b).Soon();
    }

    [Fact]
    public async Task InterleavingCalls_ThatCameDuringActivation_DoNotWaitBehindAnExclusiveOne()
    {
        await using var silo = await TestSilo.Start();
        for (int i = 0; i < 50; i++)
        {
            var grain = Plain(silo, $"fresh-{i}");
            var work = grain.Work($"w{i}");
            await grain.Ping().Soon();
            work.IsCompleted.ShouldBeFalse();
        }
    }

    [Fact]
    public async Task Turns_FromManyCallers_NeverOverlap()
    {
        await using var silo = await TestSilo.Start();
        var grain = Plain(silo);
        using var start = new Barrier(8);
        var callers = Enumerable.Range(0, 8).Select(_ => Task.Factory.StartNew(
            async () =>
            {
                start.SignalAndWait(TestSilo.Patience);
                for (int i = 0; i < 20; i++)
                {
                    await grain.CountInSteps(5);
                }
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default).Unwrap());
        await Task.WhenAll(callers).Soon();
        (await grain.CountInSteps(0)).ShouldBe(8 * 20 * 5);
    }

    [Fact]
    public async Task Continuations_StayOnTheActivation()
    {
        await using var silo = await TestSilo.Start();
        (await Plain(silo).ContinuesOnItsScheduler()).ShouldBeTrue();
    }

    [Fact]
    public async Task AmbientValues_OfTheCaller_DoNotCrossTheCall()
    {
        await using var silo = await TestSilo.Start();
        AmbientGrain.Ambient.Value = "caller's";
        (await silo.Client.GetGrain<IAmbientGrain>("x").Read()).ShouldBeNull();
        AmbientGrain.Ambient.Value.ShouldBe("caller's");
    }

    [Fact]
    public async Task CircularCall_IsADeadlockThatEndsInATimeout()
    {
        await using var silo = await TestSilo.Start();
        var call = Plain(silo, "a").CallBack("b");
        await silo.Probe.Saw("calling");
        while (silo.Probe.Events.Count < 2)
        {
            await Task.Yield();
        }

        silo.Time.Advance(TimeSpan.FromSeconds(31));
        var thrown = await Should.ThrowAsync<TimeoutException>(() => call.Soon());
        thrown.Message.ShouldStartWith("Response did not arrive on time in 00:00:30 for message: Request [");
        thrown.Message.ShouldContain("ITurnGrain.CallBack");
    }

    [Fact]
    public async Task Timeout_IsAtTheConfiguredAge_AndAnExpiredCallIsNeverRun()
    {
        await using var silo = await TestSilo.Start(s => global::Orleans.Hosting.SiloBuilderExtensions
            .Configure<global::Orleans.Configuration.SiloMessagingOptions>(s, o => o.ResponseTimeout = TimeSpan.FromSeconds(5)));
        var grain = Plain(silo);
        var running = grain.Work("running");
        await silo.Probe.Saw("running starts");
        var waiting = grain.Work("waiting");
        await grain.Ping();

        silo.Time.Advance(TimeSpan.FromSeconds(4.9));
        await grain.Ping();
        running.IsCompleted.ShouldBeFalse();
        waiting.IsCompleted.ShouldBeFalse();

        silo.Time.Advance(TimeSpan.FromSeconds(0.4));
        await Should.ThrowAsync<TimeoutException>(() => running.Soon());
        (await Should.ThrowAsync<TimeoutException>(() => waiting.Soon()))
            .Message.ShouldBe("Response did not arrive on time in 00:00:05 for message: Request [client]->[turn/x] ITurnGrain.Work. ");

        silo.Probe.OpenAll();
        await grain.Work("last").Soon();
        silo.Probe.Events.ShouldContain("running ends");
        silo.Probe.Events.ShouldNotContain("waiting starts");
    }
}

public interface IAmbientGrain : IGrainWithStringKey
{
    Task<string?> Read();
}

public sealed class AmbientGrain : Grain, IAmbientGrain
{
    public static readonly AsyncLocal<string?> Ambient = new();

    public Task<string?> Read() => Task.FromResult(Ambient.Value);
}

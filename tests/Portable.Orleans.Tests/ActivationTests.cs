using Orleans;
using Orleans.Concurrency;
using Orleans.Runtime;

namespace DarkMatter.Portable.Orleans.Tests;

public interface ILifeGrain : IGrainWithStringKey
{
    Task<int> Number();

    Task End(string gate);

    Task Delay(TimeSpan by);

    Task Tick(TimeSpan due, TimeSpan period, bool keepAlive);

    [AlwaysInterleave]
    Task Ping();
}

/// <summary>Notes its life. Keys choose what goes wrong: "fails" in OnActivateAsync, "hangs" there, "ends badly" in OnDeactivateAsync.</summary>
public sealed class LifeGrain(Probe probe) : Grain, ILifeGrain, IDisposable
{
    private static int s_made;
    private readonly int _number = Interlocked.Increment(ref s_made);

    public override async Task OnActivateAsync(CancellationToken cancellationToken)
    {
        probe.Note("activating");
        await Task.Yield();
        switch (this.GetPrimaryKeyString())
        {
            case "fails":
                throw new OddException("no life");
            case "hangs":
                await probe.Pass("never");
                break;
        }
    }

    public override async Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellationToken)
    {
        await Task.Yield();
        probe.Note($"{this.GetPrimaryKeyString()}: {reason.ReasonCode}");
        switch (this.GetPrimaryKeyString())
        {
            case "ends badly":
                throw new OddException("bad end");
            case "never ends":
                await probe.Pass("never ends");
                break;
        }
    }

    public void Dispose() => probe.Note("disposed");

    public Task<int> Number() => Task.FromResult(_number);

    public async Task End(string gate)
    {
        DeactivateOnIdle();
        probe.Note("ending");
        await probe.Pass(gate);
    }

    public Task Delay(TimeSpan by)
    {
        DelayDeactivation(by);
        return Task.CompletedTask;
    }

    public Task Tick(TimeSpan due, TimeSpan period, bool keepAlive)
    {
        this.RegisterGrainTimer(
            () =>
            {
                probe.Note("tick");
                return Task.CompletedTask;
            },
            new GrainTimerCreationOptions(due, period) { KeepAlive = keepAlive });
        return Task.CompletedTask;
    }

    public Task Ping() => Task.CompletedTask;
}

public sealed class ActivationTests
{
    [Fact]
    public async Task DeactivateOnIdle_EndsAfterTheRunningCall_AndWaitingCallsGoToTheNextActivation()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ILifeGrain>("x");
        int first = await grain.Number();
        var ending = grain.End("gate");
        await silo.Probe.Saw("ending");
        var waiting = grain.Number();
        silo.Probe.Events.ShouldNotContain("x: ApplicationRequested");
        waiting.IsCompleted.ShouldBeFalse();

        silo.Probe.Open("gate");
        await ending.Soon();
        int second = await waiting.Soon();
        second.ShouldNotBe(first);
        silo.Probe.Events.ShouldBe(["activating", "ending", "x: ApplicationRequested", "disposed", "activating"]);
    }

    [Fact]
    public async Task IdleActivation_IsCollectedAfterItsAge_UseStartsTheAgeAnew()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ILifeGrain>("x");
        int first = await grain.Number();
        silo.Time.Advance(TimeSpan.FromMinutes(9));
        (await grain.Number()).ShouldBe(first);
        silo.Time.Advance(TimeSpan.FromMinutes(9));
        (await grain.Number()).ShouldBe(first);
        silo.Time.Advance(TimeSpan.FromMinutes(11));
        await silo.Probe.Saw("x: ActivationIdle");
        (await grain.Number()).ShouldNotBe(first);
    }

    [Fact]
    public async Task DelayDeactivation_KeepsIdleCollectionAway()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ILifeGrain>("x");
        int first = await grain.Number();
        await grain.Delay(TimeSpan.FromHours(1));
        silo.Time.Advance(TimeSpan.FromMinutes(59));
        (await grain.Number()).ShouldBe(first);
        await grain.Delay(TimeSpan.FromSeconds(-1));
        silo.Time.Advance(TimeSpan.FromMinutes(11));
        await silo.Probe.Saw("x: ActivationIdle");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task TimerTicks_CountAsUse_OnlyWithKeepAlive(bool keepAlive)
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ILifeGrain>("x");
        await grain.Tick(TimeSpan.FromMinutes(9), Timeout.InfiniteTimeSpan, keepAlive);
        silo.Time.Advance(TimeSpan.FromMinutes(9.5));
        await silo.Probe.Saw("tick");
        await grain.Ping().Soon(); // A use, and behind the tick.
        int number = await grain.Number();
        silo.Time.Advance(TimeSpan.FromMinutes(9));
        (await grain.Number()).ShouldBe(number);

        await grain.Tick(TimeSpan.FromMinutes(9), Timeout.InfiniteTimeSpan, keepAlive);
        silo.Time.Advance(TimeSpan.FromMinutes(9.1));
        while (silo.Probe.Events.Count(e => e == "tick") < 2)
        {
            await Task.Yield();
        }

        silo.Time.Advance(TimeSpan.FromMinutes(4));
        if (keepAlive)
        {
            (await grain.Number()).ShouldBe(number);
        }
        else
        {
            await silo.Probe.Saw("x: ActivationIdle");
        }
    }

    [Fact]
    public async Task FailedActivation_FailsItsCallers_AndIsTriedAgainByTheNext()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ILifeGrain>("fails");
        (await Should.ThrowAsync<OddException>(() => grain.Number())).Message.ShouldBe("no life");
        (await Should.ThrowAsync<OddException>(() => grain.Number())).Message.ShouldBe("no life");
        silo.Probe.Events.ShouldBe(["activating", "disposed", "activating", "disposed"]);
    }

    [Fact]
    public async Task HangingActivation_TimesOut()
    {
        await using var silo = await TestSilo.Start(s => global::Orleans.Hosting.SiloBuilderExtensions
            .Configure<global::Orleans.Configuration.GrainCollectionOptions>(s, o => o.ActivationTimeout = TimeSpan.FromSeconds(3)));
        var call = silo.Client.GetGrain<ILifeGrain>("hangs").Number();
        await silo.Probe.Saw("activating");
        while (!call.IsCompleted)
        {
            // The deadline timer is made on the grain's thread: advance until it has been.
            silo.Time.Advance(TimeSpan.FromMilliseconds(100));
            await Task.Yield();
        }

        (await Should.ThrowAsync<TimeoutException>(() => call)).Message
            .ShouldBe("OnActivateAsync of grain life/hangs did not end within 00:00:03.");
    }

    [Fact]
    public async Task FailedDeactivation_StillEndsTheActivation()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ILifeGrain>("ends badly");
        int first = await grain.Number();
        silo.Probe.Open("gate");
        await grain.End("gate");
        (await grain.Number()).ShouldNotBe(first);
    }

    [Fact]
    public async Task TwoFirstCalls_MakeOneActivation()
    {
        await using var silo = await TestSilo.Start();
        for (int i = 0; i < 50; i++)
        {
            string key = $"race-{i}";
            using var start = new Barrier(4);
            var numbers = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Factory.StartNew(
                () =>
                {
                    var grain = silo.Client.GetGrain<ILifeGrain>(key);
                    start.SignalAndWait(TestSilo.Patience);
                    return grain.Number();
                },
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default).Unwrap())).Soon();
            numbers.Distinct().Count().ShouldBe(1);
        }
    }
}

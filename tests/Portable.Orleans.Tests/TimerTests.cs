using Orleans;
using Orleans.Concurrency;
using Orleans.Runtime;

namespace DarkMatter.Portable.Orleans.Tests;

public interface ITimerGrain : IGrainWithStringKey
{
    /// <summary>Starts a timer whose tick n notes "tick n" and passes the gate "tick n".</summary>
    Task Start(TimeSpan due, TimeSpan period, bool interleave);

    Task Change(TimeSpan due, TimeSpan period);

    Task Stop();

    Task Work(string gate);

    Task End();

    [AlwaysInterleave]
    Task Ping();
}

public sealed class TimerGrain(Probe probe) : Grain, ITimerGrain
{
    private IGrainTimer? _timer;
    private int _ticks;

    public Task Start(TimeSpan due, TimeSpan period, bool interleave)
    {
        _timer = this.RegisterGrainTimer(Tick, new GrainTimerCreationOptions(due, period) { Interleave = interleave });
        return Task.CompletedTask;
    }

    public Task Change(TimeSpan due, TimeSpan period)
    {
        _timer!.Change(due, period);
        return Task.CompletedTask;
    }

    public Task Stop()
    {
        _timer!.Dispose();
        return Task.CompletedTask;
    }

    public async Task Work(string gate)
    {
        probe.Note($"{gate} starts");
        await probe.Pass(gate);
    }

    public Task End()
    {
        DeactivateOnIdle();
        return Task.CompletedTask;
    }

    public Task Ping() => Task.CompletedTask;

    public override Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellationToken)
    {
        probe.Note("deactivated");
        return Task.CompletedTask;
    }

    private async Task Tick(CancellationToken cancellation)
    {
        int n = ++_ticks;
        using var _ = cancellation.Register(() => probe.Note($"tick {n} cancelled"));
        probe.Note($"tick {n}");
        await probe.Pass($"tick {n}");
        probe.Note($"tick {n} ends");
        if (this.GetPrimaryKeyString() == "throws")
        {
            throw new OddException("tick");
        }
    }
}

public sealed class TimerTests
{
    private static readonly TimeSpan s_second = TimeSpan.FromSeconds(1);

    [Fact]
    public async Task Tick_IsDueOncePerPeriodAfterTheLastEnded_AndNeverOverlapsItself()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ITimerGrain>("x");
        await grain.Start(2 * s_second, s_second, interleave: true);
        silo.Time.Advance(1.9 * s_second);
        await grain.Ping();
        silo.Probe.Events.ShouldBeEmpty();
        silo.Time.Advance(0.2 * s_second);
        await silo.Probe.Saw("tick 1");

        silo.Time.Advance(10 * s_second);
        await grain.Ping();
        silo.Probe.Events.ShouldBe(["tick 1"]);

        silo.Probe.Open("tick 1");
        await silo.Probe.Saw("tick 1 ends");
        await grain.Ping();
        silo.Time.Advance(0.9 * s_second);
        await grain.Ping();
        silo.Probe.Events.ShouldNotContain("tick 2");
        silo.Time.Advance(0.2 * s_second);
        await silo.Probe.Saw("tick 2");
    }

    [Fact]
    public async Task Tick_WaitsForACall_AndACallForATick()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ITimerGrain>("x");
        await grain.Start(s_second, s_second, interleave: false);
        var first = grain.Work("work");
        await silo.Probe.Saw("work starts");
        silo.Time.Advance(s_second);
        await grain.Ping();
        silo.Probe.Events.ShouldBe(["work starts"]);

        silo.Probe.Open("work");
        await silo.Probe.Saw("tick 1");
        var second = grain.Work("more");
        await grain.Ping();
        silo.Probe.Events.ShouldNotContain("more starts");
        silo.Probe.OpenAll();
        await Task.WhenAll(first, second).Soon();
    }

    [Fact]
    public async Task InterleavingTick_RunsBesideACall()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ITimerGrain>("x");
        await grain.Start(s_second, s_second, interleave: true);
        var call = grain.Work("work");
        await silo.Probe.Saw("work starts");
        silo.Time.Advance(s_second);
        await silo.Probe.Saw("tick 1");
        call.IsCompleted.ShouldBeFalse();
    }

    [Fact]
    public async Task Change_MovesTheNextTick_Dispose_StopsAndCancels()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ITimerGrain>("x");
        await grain.Start(s_second, s_second, interleave: true);
        await grain.Change(5 * s_second, Timeout.InfiniteTimeSpan);
        silo.Time.Advance(4 * s_second);
        await grain.Ping();
        silo.Probe.Events.ShouldBeEmpty();
        silo.Time.Advance(s_second);
        await silo.Probe.Saw("tick 1");
        await grain.Stop();
        await silo.Probe.Saw("tick 1 cancelled");
    }

    [Fact]
    public async Task ThrowingTick_DoesNotStopTheTimer()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ITimerGrain>("throws");
        silo.Probe.OpenAll();
        await grain.Start(s_second, s_second, interleave: false);
        for (int n = 1; n <= 3; n++)
        {
            silo.Time.Advance(s_second);
            await silo.Probe.Saw($"tick {n} ends");
            await grain.Work("behind the tick").Soon();
        }
    }

    [Fact]
    public async Task Deactivation_EndsTheTimer()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<ITimerGrain>("x");
        await grain.Start(s_second, s_second, interleave: false);
        await grain.End();
        await silo.Probe.Saw("deactivated");
        await grain.Ping();
        silo.Time.Advance(10 * s_second);
        await grain.Ping();
        silo.Probe.Events.ShouldBe(["deactivated"]);
    }
}

using System.Diagnostics.CodeAnalysis;
using Orleans;
using Orleans.Concurrency;
using Orleans.Runtime;

namespace DarkMatter.Portable.Orleans.Tests;

public interface IEchoGrain : IGrainWithStringKey
{
    Task<string> Key();

    ValueTask<int> Add(int a, int b);

    ValueTask Nothing();

    Task Fail(string message);

    Task FailAtOnce(string message);

    Task<int> FailAfterAwait(string gate);

    Task<string> Through(string other);

    [OneWay]
    Task Tell(string what);

    [OneWay]
    Task TellAndFail(string what);

    Task<IEchoGrain> Me();

    Task<string> KeyOf(IEchoGrain other);

    Task Cancelled();
}

public interface IHasNoClass : IGrainWithStringKey
{
    Task Nothing();
}

public interface IHasTwoClasses : IGrainWithStringKey
{
    Task<string> Name();
}

public sealed class EchoGrain(Probe probe) : Grain, IEchoGrain
{
    public Task<string> Key() => Task.FromResult(this.GetPrimaryKeyString());

    public ValueTask<int> Add(int a, int b) => ValueTask.FromResult(a + b);

    public ValueTask Nothing()
    {
        probe.Note("nothing");
        return ValueTask.CompletedTask;
    }

    public async Task Fail(string message)
    {
        await Task.Yield();
        throw new OddException(message) { Code = 42 };
    }

    public Task FailAtOnce(string message) => throw new OddException(message);

    public async Task<int> FailAfterAwait(string gate)
    {
        await probe.Pass(gate);
        throw new InvalidOperationException(gate);
    }

    public Task<string> Through(string other) => GrainFactory.GetGrain<IEchoGrain>(other).Key();

    public async Task Tell(string what)
    {
        await probe.Pass("tell");
        probe.Note(what);
    }

    public Task TellAndFail(string what)
    {
        probe.Note(what);
        throw new OddException(what);
    }

    public Task<IEchoGrain> Me() => Task.FromResult(this.AsReference<IEchoGrain>());

    public Task<string> KeyOf(IEchoGrain other) => Task.FromResult(other.GetPrimaryKeyString());

    public Task Cancelled() => Task.FromCanceled(new CancellationToken(canceled: true));
}

[GrainType("first-of-two")]
public sealed class FirstOfTwoGrain : Grain, IHasTwoClasses
{
    public Task<string> Name() => Task.FromResult(IdentityString);
}

public sealed class SecondOfTwoGrain : Grain, IHasTwoClasses
{
    public Task<string> Name() => Task.FromResult(IdentityString);
}

[SuppressMessage("Design", "CA1032", Justification = "Made only by these tests.")]
public sealed class OddException(string message) : Exception(message)
{
    public int Code { get; init; }
}

public sealed class CallTests
{
    [Fact]
    public async Task Call_OfEachShape_ReturnsTheResult()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<IEchoGrain>("k/1");

        (await grain.Key()).ShouldBe("k/1");
        (await grain.Add(2, 3)).ShouldBe(5);
        await grain.Nothing();
        (await grain.Through("other")).ShouldBe("other");
        silo.Probe.Events.ShouldBe(["nothing"]);
    }

    [Fact]
    public async Task Exception_ThrownByGrain_KeepsTypeMessageDataAndStack()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<IEchoGrain>("x");

        foreach (var call in new Func<Task>[] { () => grain.Fail("odd"), () => grain.FailAtOnce("odd") })
        {
            var thrown = await Should.ThrowAsync<OddException>(call);
            thrown.Message.ShouldBe("odd");
            thrown.StackTrace.ShouldNotBeNull().ShouldContain(nameof(EchoGrain));
        }

        (await Should.ThrowAsync<OddException>(() => grain.Fail("odd"))).Code.ShouldBe(42);
        (await grain.Key()).ShouldBe("x");
    }

    [Fact]
    public async Task Cancellation_InGrain_ReachesTheCallerAsCancellation()
    {
        await using var silo = await TestSilo.Start();
        await Should.ThrowAsync<OperationCanceledException>(() => silo.Client.GetGrain<IEchoGrain>("x").Cancelled());
    }

    [Fact]
    public async Task OneWay_DoesNotWaitAndHearsOfNoFailure()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<IEchoGrain>("x");

        // The grain waits at a gate that opens only after the caller has its answer.
        var told = grain.Tell("heard");
        told.IsCompletedSuccessfully.ShouldBeTrue();
        silo.Probe.Open("tell");
        await silo.Probe.Saw("heard");

        var failed = grain.TellAndFail("failed");
        failed.IsCompletedSuccessfully.ShouldBeTrue();
        await silo.Probe.Saw("failed");
        (await grain.Key()).ShouldBe("x");
    }

    [Fact]
    public async Task Reference_PassedAndReturned_StillNamesTheGrain()
    {
        await using var silo = await TestSilo.Start();
        var a = silo.Client.GetGrain<IEchoGrain>("a");
        var me = await a.Me();

        me.GetPrimaryKeyString().ShouldBe("a");
        me.ShouldBe(a);
        (await silo.Client.GetGrain<IEchoGrain>("b").KeyOf(me)).ShouldBe("a");
        a.GetGrainId().ShouldBe(GrainId.Create("echo", "a"));
        a.GetGrainId().ToString().ShouldBe("echo/a");
    }

    [Fact]
    public async Task GetGrain_WithoutOrWithTooManyClasses_SaysSo()
    {
        await using var silo = await TestSilo.Start();

        Should.Throw<ArgumentException>(() => silo.Client.GetGrain<IHasNoClass>("x"))
            .Message.ShouldStartWith($"Could not find an implementation for interface {typeof(IHasNoClass)}");
        Should.Throw<ArgumentException>(() => silo.Client.GetGrain<IHasTwoClasses>("x")).Message.ShouldContain("2 implementations");
        (await silo.Client.GetGrain<IHasTwoClasses>("x", typeof(SecondOfTwoGrain).FullName).Name()).ShouldBe("secondoftwo/x");
        (await silo.Client.GetGrain<IHasTwoClasses>("x", typeof(FirstOfTwoGrain).FullName).Name()).ShouldBe("first-of-two/x");
        Should.Throw<ArgumentException>(() => silo.Client.GetGrain<IEchoGrain>(" "));
    }

    [Fact]
    public void Grain_MadeByHand_SaysWhereReferencesComeFrom() =>
        Should.Throw<InvalidOperationException>(() => new EchoGrain(new Probe())).Message.ShouldContain("IGrainFactory.GetGrain");
}

using DarkMatter.Protocol;
using DarkMatter.Trainer.Commands;
using DarkMatter.Trainer.Commands.Sessions;
using DarkMatter.Trainer.Training;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Trainer.Tests.Commands.Sessions;

/// <summary>What a trainer and a silo say to each other when streams break and silos go away.</summary>
public sealed class TrainerSessionTests
{
    private static readonly SessionOptions Fast = new()
    {
        ReportEvery = TimeSpan.FromMilliseconds(10),
        FirstBackoff = TimeSpan.FromMilliseconds(10),
        LongestBackoff = TimeSpan.FromMilliseconds(50),
    };

    private static readonly Assignment Third = new() { Generation = 3, Rank = 0, World = 2 };

    [Fact]
    public async Task StreamBreaks_TrainingGoesOn_TheNextStreamKnowsItsPlaceAndItsSteps()
    {
        await using var silo = await FakeSilo.StartAsync();
        await using var trainer = new Trainer(silo.Address);
        var first = await silo.NextStreamAsync();
        var join = (await first.HearAsync()).Join;
        (join.Name, join.Generation, join.LastStep, join.RecipeDigest).ShouldBe(("t", 0, -1, ""));
        trainer.Session.Prepared("name: demo\n");

        trainer.Session.Enter(Third);
        trainer.Session.GenerationBegan(Began(start: 4));
        trainer.Session.StepApplied(Reports.Of(5));
        (await first.HearAsync()).GenerationBegan.StartStep.ShouldBe(4);
        var applied = (await first.HearAsync()).StepApplied;
        (applied.Generation, applied.Step, applied.SamplesDigest).ShouldBe((3, 5, 55ul));
        first.End(StatusCode.Unavailable, "stopping");

        trainer.Session.StepApplied(Reports.Of(6));
        var second = await silo.NextStreamAsync();
        var again = (await second.HearAsync()).Join;
        (again.Incarnation, again.Generation).ShouldBe((join.Incarnation, 3));
        again.RecipeDigest.ShouldBe("8789e7eabb7ba5922a5087c25d315a1e5fbb6b0f97510862579d348428dbd9d4", "the silo may have another recipe by now");
        again.LastStep.ShouldBeGreaterThanOrEqualTo(5);
        (await second.HearAsync()).GenerationBegan.StartStep.ShouldBe(4);
        for (var told = 0L; told < 6; told = (await second.HearAsync()).StepApplied.Step)
        {
        }

        trainer.Session.Orders.Pending.ShouldBeNull("nothing was asked of it");
    }

    [Fact]
    public async Task Evicted_LeavesAtOnceAndJoinsAnewWithoutAPlace()
    {
        await using var silo = await FakeSilo.StartAsync();
        await using var trainer = new Trainer(silo.Address);
        trainer.Session.Enter(Third);
        trainer.Session.StepApplied(Reports.Of(9));
        (await silo.NextStreamAsync()).End(StatusCode.Aborted, "t counts as lost");
        var second = await silo.NextStreamAsync();
        var join = (await second.HearAsync()).Join;
        (join.Generation, join.LastStep).ShouldBe((0, 9));
        var order = trainer.Session.Orders.Take().ShouldBeOfType<Order.Rejoin>();
        order.Reason.ShouldBe("t counts as lost");
        order.AtOnce.ShouldBeTrue();
        second.Say(new SiloMessage { Standby = new Standby { Reason = "prepare" } });
        SpinWait.SpinUntil(() => trainer.Session.YieldRequested, Collectives.World.Patience).ShouldBeTrue();
        trainer.Session.Exit(9);
        trainer.Session.Ready(3, "lost its place");
        var ready = (await second.HearAsync()).Ready;
        (ready.Generation, ready.LastStep).ShouldBe((3, 9), "the first word of the new stream is of no old place");
    }

    [Theory]
    [InlineData(StatusCode.NotFound)]
    [InlineData(StatusCode.AlreadyExists)]
    [InlineData(StatusCode.FailedPrecondition)]
    [InlineData(StatusCode.InvalidArgument)]
    public async Task Refused_EndsAndSaysWhy(StatusCode status)
    {
        await using var silo = await FakeSilo.StartAsync();
        await using var trainer = new Trainer(silo.Address);
        (await silo.NextStreamAsync()).End(status, "no such run");
        var end = trainer.Session.Orders.Take().ShouldBeOfType<Order.End>();
        end.ExitCode.ShouldBe(ExitCode.BadRequest);
        end.Reason.ShouldContain("the silo refused this trainer: no such run");
    }

    [Fact]
    public async Task SiloAwayForTooLong_EndsWithTheStep()
    {
        var silo = await FakeSilo.StartAsync();
        await using var trainer = new Trainer(silo.Address, Fast with { SiloPatience = TimeSpan.FromMilliseconds(300) });
        await silo.NextStreamAsync();
        trainer.Session.Enter(Third);
        trainer.Session.StepApplied(Reports.Of(7));
        await silo.DisposeAsync();
        var end = trainer.Session.Orders.Take().ShouldBeOfType<Order.End>();
        end.ExitCode.ShouldBe(ExitCode.LostSilo);
        end.Reason.ShouldContain("at step 7");
    }

    [Fact]
    public async Task SiloHangs_TheStreamIsOpenedAgain()
    {
        await using var silo = await FakeSilo.StartAsync();
        await using var trainer = new Trainer(silo.Address, Fast with { SilencePatience = TimeSpan.FromMilliseconds(200) });
        await silo.NextStreamAsync();                                             // and it never says a word
        (await (await silo.NextStreamAsync()).HearAsync()).KindCase.ShouldBe(TrainerMessage.KindOneofCase.Join);
    }

    [Fact]
    public async Task SiloComesBackAfterAWhile_IsToldTheLastWord()
    {
        var first = await FakeSilo.StartAsync();
        await using var trainer = new Trainer(first.Address);
        await first.NextStreamAsync();
        trainer.Session.Enter(Third);
        trainer.Session.StepApplied(Reports.Of(12));
        await first.DisposeAsync();
        var leaving = trainer.Session.LeaveAsync(new Leaving { Generation = 3, Step = 12, Completed = true, Reason = "done" }, Collectives.World.Patience);
        await using var second = await FakeSilo.StartAsync(first.Port);
        var stream = await second.NextStreamAsync();
        (await stream.HearAsync()).Join.Generation.ShouldBe(3);
        TrainerMessage message;
        do
            message = await stream.HearAsync();
        while (message.KindCase != TrainerMessage.KindOneofCase.Leaving);
        message.Leaving.Completed.ShouldBeTrue();
        (await leaving).ShouldBeTrue();
    }

    [Fact]
    public async Task Drain_TellsTheSilo_AndGoesWithoutItsWordWhenTheGraceRunsOut()
    {
        await using var silo = await FakeSilo.StartAsync();
        await using var trainer = new Trainer(silo.Address);
        var stream = await silo.NextStreamAsync();
        await stream.HearAsync();
        trainer.Session.BeginDrain("the node goes", TimeSpan.FromSeconds(1));
        trainer.Session.BeginDrain("again", TimeSpan.FromSeconds(9));
        (await stream.HearAsync()).Draining.GraceSeconds.ShouldBe(1);
        var go = trainer.Session.Orders.Take().ShouldBeOfType<Order.Go>();
        go.Last.ShouldBeTrue("nobody is beside it");
        go.Reason.ShouldContain("the silo did not answer");
        trainer.Session.Orders.Take().ShouldBeOfType<Order.End>().ExitCode.ShouldBe(ExitCode.Drained);
    }

    [Fact]
    public async Task Release_LetsTheTrainerGo_WithACheckpointIfItIsTheLast()
    {
        await using var silo = await FakeSilo.StartAsync();
        await using var trainer = new Trainer(silo.Address);
        var stream = await silo.NextStreamAsync();
        stream.Say(new SiloMessage { Release = new Release { Reason = "t drains", NextGeneration = 4 } });
        var go = trainer.Session.Orders.Take().ShouldBeOfType<Order.Go>();
        go.Last.ShouldBeFalse();
        stream.Say(new SiloMessage { Release = new Release { Reason = "t drains" } });
        SpinWait.SpinUntil(() => trainer.Session.CheckpointRequested, Collectives.World.Patience).ShouldBeTrue();
    }

    private static GenerationReport Began(long start) => new()
    {
        Generation = 3,
        StartStep = start,
        TotalSteps = 100,
        StateHash = 1,
        Source = "fresh",
        Healed = [],
        HealedBytes = 0,
        HealTime = TimeSpan.Zero,
        Lineage = [],
    };

    private sealed class Trainer : IAsyncDisposable
    {
        private readonly GrpcChannel _channel;

        public Trainer(Uri silo, SessionOptions? options = null)
        {
            _channel = GrpcChannel.ForAddress(silo);
            var join = new Join { Run = "r", Name = "t", Incarnation = Guid.NewGuid().ToString("N") };
            Session = new TrainerSession(new Coordinator.CoordinatorClient(_channel), join, options ?? Fast, _ => { });
        }

        public TrainerSession Session { get; }

        public async ValueTask DisposeAsync()
        {
            await Session.DisposeAsync();
            _channel.Dispose();
        }
    }
}

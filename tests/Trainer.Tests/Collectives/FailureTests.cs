using System.Diagnostics;
using DarkMatter.Portable.Grpc.Tests;
using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Tests.Collectives;

/// <summary>Whatever fails, every rank's call ends with an exception that names the rank at fault.</summary>
public sealed class FailureTests
{
    [Theory]
    [InlineData("blocking")]
    [InlineData("background")]
    public async Task OneRank_Aborts_EveryRankLearnsWhoFailed(string call)
    {
        await using var world = await World.ConnectAsync(3);
        var failures = await world.RunToEndAsync(rank =>
        {
            rank.Barrier();
            if (rank.Rank == 2)
            {
                ((GrpcCollective)rank).Abort("its graphics card caught fire", failedRank: 2);
            }

            if (call == "blocking")
            {
                rank.AllReduceSum(new float[100].AsSpan());
            }
            else
            {
                rank.AllReduceSumAsync(new float[1_000_000]).WaitAsync(World.Patience).GetAwaiter().GetResult();
            }
        });
        foreach (var failure in failures)
        {
            var aborted = failure.ShouldBeOfType<CollectiveAbortedException>();
            aborted.FailedRank.ShouldBe(2);
            aborted.Message.ShouldContain("caught fire");
        }
    }

    [Theory]
    [InlineData(16)]
    [InlineData(0)]
    public async Task ARankThatSaysItWorks_IsWaitedForLongerThanTheTimeout_OneThatFallsSilentIsNot(int directWorld)
    {
        await using var world = await World.ConnectAsync(4, options => options with { Timeout = TimeSpan.FromSeconds(2), DirectWorld = directWorld });
        var late = new ManualResetEventSlim();
        var failures = await world.RunToEndAsync(rank =>
        {
            if (rank.Rank == 2)
            {
                // More than two timeouts long, and then it hangs: until the others have given it up.
                for (var sign = 0; sign < 45; sign++)
                {
                    rank.Working();
                    late.Wait(TimeSpan.FromMilliseconds(100));
                }
            }

            rank.Barrier();
            if (rank.Rank == 2)
            {
                ((GrpcCollective)rank).Aborted += _ => late.Set();
                late.Wait(World.Patience);
            }

            rank.Barrier();
        });
        foreach (var failure in failures)
        {
            failure.ShouldBeOfType<CollectiveAbortedException>().Message.ShouldContain("(call 1 of generation 1)");
        }
    }

    [Fact]
    public async Task SignsOfLife_EndWithTheirPatience()
    {
        var told = new TaskCompletionSource();
        using (new SignsOfLife(() => throw new InvalidOperationException("it made no progress"), patience: TimeSpan.Zero))
        using (new SignsOfLife(() => told.TrySetResult(), patience: TimeSpan.FromHours(1)))
        {
            await told.Task.WaitAsync(World.Patience);
        }
    }

    [Fact]
    public async Task Network_IsCut_BothSidesAbortQuickly()
    {
        await using var first = await PeerServer.StartAsync();
        await using var second = await PeerServer.StartAsync();
        await using var relay = new Relay(new Uri(first.Address).Port);
        string[] peers = [$"http://127.0.0.1:{relay.Port}", second.Address];
        var ranks = await Task.WhenAll(
            GrpcCollective.ConnectAsync(first, Options(0, peers)), GrpcCollective.ConnectAsync(second, Options(1, peers)));
        var calls = ranks.Select(rank => rank.AllReduceSumAsync(new float[10_000_000])).ToArray();
        var started = Stopwatch.GetTimestamp();
        await relay.DisposeAsync();
        for (var rank = 0; rank < 2; rank++)
        {
            var aborted = await Should.ThrowAsync<CollectiveAbortedException>(() => calls[rank].WaitAsync(World.Patience));
            aborted.FailedRank.ShouldBe(1 - rank);
            Should.Throw<CollectiveAbortedException>(ranks[rank].Barrier).FailedRank.ShouldBe(1 - rank);
            await ranks[rank].DisposeAsync();
        }

        Stopwatch.GetElapsedTime(started).ShouldBeLessThan(World.Patience);
    }

    [Fact]
    public async Task Rank_ThatNeverCalls_IsNamedAfterTheTimeout()
    {
        await using var world = await World.ConnectAsync(3, options => options with { Timeout = TimeSpan.FromSeconds(1) });
        var failures = await world.RunToEndAsync(rank =>
        {
            if (rank.Rank != 1)
            {
                rank.AllReduceSum(new float[10].AsSpan());
            }
        });
        failures[1].ShouldBeNull();
        failures[0].ShouldBeOfType<CollectiveAbortedException>().Message.ShouldContain("rank 1");
        foreach (var rank in new[] { 0, 2 })
        {
            failures[rank].ShouldBeOfType<CollectiveAbortedException>().FailedRank.ShouldBe(1);
        }

        var late = await world.RunToEndAsync(rank => rank.Barrier());
        late.ShouldAllBe(failure => failure is CollectiveAbortedException);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(16)]
    public async Task Ranks_ThatMakeDifferentCalls_AllAbort(int directWorld)
    {
        await using var world = await World.ConnectAsync(3, options => options with { DirectWorld = directWorld });
        var failures = await world.RunToEndAsync(rank => rank.AllReduceSum(new float[rank.Rank == 1 ? 11 : 10].AsSpan()));
        failures.ShouldAllBe(failure => failure is CollectiveAbortedException);
        failures.ShouldContain(failure => failure!.Message.Contains("every rank must make the same calls in the same order"));
    }

    [Fact]
    public async Task Rank_LeavesDuringACall_TheOthersAbortNamingIt()
    {
        await using var world = await World.ConnectAsync(3);
        var waiting = world.RunToEndAsync(rank =>
        {
            if (rank.Rank != 0)
            {
                rank.Barrier();
            }
        });
        await world.Ranks[0].DisposeAsync();
        var failures = await waiting;
        foreach (var rank in new[] { 1, 2 })
        {
            var aborted = failures[rank].ShouldBeOfType<CollectiveAbortedException>();
            aborted.FailedRank.ShouldBe(0);
        }
    }

    [Fact]
    public async Task Ranks_ThatLeaveAfterTheirLastCall_DisturbNobody()
    {
        for (var round = 0; round < 10; round++)
        {
            await using var world = await World.ConnectAsync(3);
            await world.RunAsync(rank =>
            {
                rank.AllReduceSum(new float[100_000].AsSpan());
                rank.Barrier();
                rank.DisposeAsync().AsTask().Wait(World.Patience).ShouldBeTrue();
            });
        }
    }

    [Fact]
    public async Task Stream_OfAnOldGeneration_IsRefused()
    {
        await using var first = await PeerServer.StartAsync();
        await using var second = await PeerServer.StartAsync();
        string[] peers = [first.Address, second.Address];
        foreach (var generation in new[] { 1, 4 })
        {
            var ranks = await Task.WhenAll(
                GrpcCollective.ConnectAsync(first, Options(0, peers) with { Generation = generation }),
                GrpcCollective.ConnectAsync(second, Options(1, peers) with { Generation = generation }));
            var sums = ranks.Select(rank => rank.AllReduceSumAsync(new float[1000])).ToArray();
            await Task.WhenAll(sums).WaitAsync(World.Patience);
            foreach (var rank in ranks)
            {
                await rank.DisposeAsync();
            }
        }

        await using var zombie = await PeerServer.StartAsync();
        var refused = await Should.ThrowAsync<CollectiveAbortedException>(
            () => GrpcCollective.ConnectAsync(zombie, Options(1, [first.Address, zombie.Address]) with { Generation = 3 }));
        refused.Message.ShouldContain("generation 3 is over: this trainer is in generation 4");
        refused.FailedRank.ShouldBe(0);
        (await Should.ThrowAsync<InvalidOperationException>(() => GrpcCollective.ConnectAsync(first, Options(0, peers) with { Generation = 4 })))
            .Message.ShouldContain("only grow");
    }

    [Fact]
    public async Task Peer_ThatIsNotThere_IsNamedWithItsAddress()
    {
        await using var server = await PeerServer.StartAsync();
        var options = Options(0, [server.Address, "http://127.0.0.1:1"]) with { ConnectTimeout = TimeSpan.FromSeconds(1) };
        var failure = await Should.ThrowAsync<CollectiveAbortedException>(() => GrpcCollective.ConnectAsync(server, options));
        failure.FailedRank.ShouldBe(1);
        failure.Message.ShouldContain("rank 1 (http://127.0.0.1:1)");
    }

    [Fact]
    public async Task Options_WithProblems_NameThemAll()
    {
        await using var server = await PeerServer.StartAsync();
        var options = Options(2, [server.Address]) with { PieceBytes = 9, Timeout = TimeSpan.Zero };
        var failure = await Should.ThrowAsync<ArgumentException>(() => GrpcCollective.ConnectAsync(server, options));
        failure.Message.ShouldContain("Rank is 2");
        failure.Message.ShouldContain("PieceBytes is 9");
        failure.Message.ShouldContain("Timeout is 00:00:00");
    }

    [Fact]
    public async Task InProcess_RankThatNeverCalls_IsNamed()
    {
        var ranks = InProcessCollective.Create(2, TimeSpan.FromMilliseconds(200));
        var failure = Should.Throw<CollectiveAbortedException>(ranks[0].Barrier);
        failure.FailedRank.ShouldBe(1);
        (await Should.ThrowAsync<CollectiveAbortedException>(() => ranks[1].AllReduceSumAsync(new float[1]))).ShouldNotBeNull();
    }

    private static CollectiveOptions Options(int rank, string[] peers) => new()
    {
        Generation = 1,
        Rank = rank,
        Peers = peers,
        Timeout = World.Patience,
    };
}

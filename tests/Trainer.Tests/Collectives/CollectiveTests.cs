using System.Runtime.InteropServices;

namespace DarkMatter.Trainer.Tests.Collectives;

/// <summary>What every implementation does alike.</summary>
public sealed class CollectiveTests
{
    public static TheoryData<string, int> Worlds => new()
    {
        { "single", 1 }, { "in process", 1 }, { "in process", 3 },
        { "grpc", 1 }, { "grpc", 2 }, { "grpc", 3 }, { "grpc", 4 }, { "grpc ring", 3 }, { "grpc ring", 5 },
    };

    [Theory]
    [MemberData(nameof(Worlds))]
    public async Task AllReduceSum_OfEverySize_IsTheSumAndBitIdenticalOnAllRanks(string kind, int size)
    {
        await using var world = await World.CreateAsync(kind, size);
        foreach (var length in new[] { 0, 1, 2, 3, 255, 256, 257, 1024, 5000, 40_001 })
        {
            var results = new float[size][];
            await world.RunAsync(rank =>
            {
                var values = Values(rank.Rank, length);
                rank.AllReduceSum(values.AsSpan());
                results[rank.Rank] = values;
            });
            var exact = new double[length];
            for (var rank = 0; rank < size; rank++)
            {
                var values = Values(rank, length);
                for (var i = 0; i < length; i++)
                {
                    exact[i] += values[i];
                }
            }

            for (var i = 0; i < length; i++)
            {
                ((double)results[0][i]).ShouldBe(exact[i], 1e-5, $"element {i} of {length}");
            }

            foreach (var result in results)
            {
                MemoryMarshal.AsBytes<float>(result).SequenceEqual(MemoryMarshal.AsBytes<float>(results[0])).ShouldBeTrue();
            }
        }
    }

    [Theory]
    [MemberData(nameof(Worlds))]
    public async Task AllReduceSum_OfDoubles_KeepsTheirPrecision(string kind, int size)
    {
        await using var world = await World.CreateAsync(kind, size);
        foreach (var length in new[] { 1, 100, 3000 })
        {
            await world.RunAsync(rank =>
            {
                var values = Enumerable.Range(0, length).Select(i => 1.0 + (i * 1e-12)).ToArray();
                rank.AllReduceSum(values.AsSpan());
                for (var i = 0; i < length; i++)
                {
                    values[i].ShouldBe(size * (1.0 + (i * 1e-12)), 1e-14 * size);
                }
            });
        }
    }

    [Theory]
    [MemberData(nameof(Worlds))]
    public async Task AllGather_OfUnequalParts_ConcatenatesInRankOrder(string kind, int size)
    {
        await using var world = await World.CreateAsync(kind, size);
        foreach (var unit in new[] { 0, 1, 1000, 20_000 })
        {
            var counts = Enumerable.Range(0, size).Select(rank => unit * ((rank + 1) % 3)).ToArray();
            var expected = counts.SelectMany((count, rank) => Enumerable.Repeat((byte)(rank + 1), count)).ToArray();
            await world.RunAsync(rank =>
            {
                var mine = new byte[counts[rank.Rank]];
                mine.AsSpan().Fill((byte)(rank.Rank + 1));
                var all = new byte[counts.Sum()];
                rank.AllGather(mine, all, counts);
                all.SequenceEqual(expected).ShouldBeTrue();
            });
        }
    }

    [Theory]
    [MemberData(nameof(Worlds))]
    public async Task Broadcast_FromEveryRoot_ReachesAll(string kind, int size)
    {
        await using var world = await World.CreateAsync(kind, size);
        for (var root = 0; root < size; root++)
        {
            foreach (var length in new[] { 1, 30_000 })
            {
                var from = root;
                await world.RunAsync(rank =>
                {
                    var buffer = new byte[length];
                    buffer.AsSpan().Fill((byte)(rank.Rank == from ? 77 : 1));
                    rank.Broadcast(buffer, from);
                    buffer.ShouldAllBe(value => value == 77);
                });
            }
        }
    }

    [Theory]
    [MemberData(nameof(Worlds))]
    public async Task Barrier_NobodyPassesBeforeEverybodyCame(string kind, int size)
    {
        await using var world = await World.CreateAsync(kind, size);
        var came = 0;
        await world.RunAsync(rank =>
        {
            for (var round = 1; round <= 50; round++)
            {
                Interlocked.Increment(ref came);
                rank.Barrier();
                Volatile.Read(ref came).ShouldBeGreaterThanOrEqualTo(round * size);
                rank.Barrier();
            }
        });
    }

    [Theory]
    [MemberData(nameof(Worlds))]
    public async Task BackgroundSums_BetweenBlockingCalls_AreAllRight(string kind, int size)
    {
        await using var world = await World.CreateAsync(kind, size);
        await world.RunAsync(rank =>
        {
            var random = new Random(5);
            for (var step = 0; step < 10; step++)
            {
                var buckets = Enumerable.Range(0, 6).Select(_ => new float[random.Next(1, 20_000)]).ToArray();
                var tasks = new List<Task>();
                for (var b = 0; b < buckets.Length; b++)
                {
                    buckets[b].AsSpan().Fill((rank.Rank + 1) * (b + 1));
                    tasks.Add(rank.AllReduceSumAsync(buckets[b]));
                    var statistics = new[] { 1.0, rank.Rank };
                    rank.AllReduceSum(statistics.AsSpan());
                    statistics.ShouldBe([size, size * (size - 1) / 2.0]);
                }

                Task.WaitAll([.. tasks], World.Patience).ShouldBeTrue();
                for (var b = 0; b < buckets.Length; b++)
                {
                    buckets[b].ShouldAllBe(value => value == (b + 1) * size * (size + 1) / 2);
                }
            }
        });
    }

    [Theory]
    [MemberData(nameof(Worlds))]
    public async Task Gather_WithWrongCounts_IsTheCallersMistake(string kind, int size)
    {
        await using var world = await World.CreateAsync(kind, size);
        var rank = world.Ranks[0];
        Should.Throw<ArgumentException>(() => rank.AllGather(new byte[2], new byte[2], new int[size + 1])).Message.ShouldContain("one count per rank");
        Should.Throw<ArgumentException>(() => rank.AllGather(new byte[2], new byte[2], new int[size])).Message.ShouldContain("its count is 0");
        Should.Throw<ArgumentOutOfRangeException>(() => rank.Broadcast(new byte[2], size)).Message.ShouldContain("rank");
    }

    private static float[] Values(int rank, int length)
    {
        var random = new Random((rank * 1000) + length);
        return [.. Enumerable.Range(0, length).Select(_ => (float)((random.NextDouble() * 2) - 1))];
    }
}

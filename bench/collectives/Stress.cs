using System.Diagnostics;
using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Collectives.Bench;

/// <summary>What a training step does, at random sizes and delays, with every result checked.</summary>
internal static class Stress
{
    public static async Task<int> RunAsync(int seconds)
    {
        using var group = await RankGroup.StartOursAsync(2);
        var started = Stopwatch.GetTimestamp();
        var rounds = 0;
        for (var seed = 1; Stopwatch.GetElapsedTime(started).TotalSeconds < seconds; seed++)
        {
            await group.DoAsync($"stress {seed} 20");
            rounds += 20;
        }

        Console.WriteLine($"{rounds} steps in {seconds} s, every sum right");
        return 0;
    }

    /// <summary>Runs the steps of one rank; the delays differ between ranks, everything else is equal.</summary>
    public static double Rank(GrpcCollective collective, int seed, int rounds, int world)
    {
        var (shared, own) = (new Random(seed), new Random((seed * 31) + collective.Rank));
        for (var round = 0; round < rounds; round++)
        {
            var buckets = Enumerable.Range(0, shared.Next(1, 6)).Select(_ => new float[shared.Next(4) == 0 ? 1_048_576 : shared.Next(1, 1_100_000)]).ToArray();
            var sums = new List<Task>();
            for (var b = 0; b < buckets.Length; b++)
            {
                buckets[b].AsSpan().Fill((collective.Rank + 1) * (b + 1));
                sums.Add(collective.AllReduceSumAsync(buckets[b]));
                for (var i = shared.Next(8); i > 0; i--)
                {
                    var statistics = new double[shared.Next(1, 1024)];
                    statistics.AsSpan().Fill(collective.Rank);
                    collective.AllReduceSum(statistics.AsSpan());
                    Check(statistics.All(value => value == world * (world - 1) / 2.0), "statistics");
                    if (own.Next(6) == 0)
                    {
                        Thread.Sleep(own.Next(15));
                    }
                }
            }

            Check(Task.WaitAll([.. sums], TimeSpan.FromSeconds(60)), "waiting");
            for (var b = 0; b < buckets.Length; b++)
            {
                Check(buckets[b].All(value => value == (b + 1) * world * (world + 1) / 2), $"bucket {b}");
            }
        }

        return 0;
    }

    private static void Check(bool holds, string what)
    {
        if (!holds)
        {
            throw new InvalidOperationException($"The sum of the {what} is wrong.");
        }
    }
}

using System.Diagnostics;
using System.Globalization;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Bank.Bench;

/// <summary>The part that a step waits for: gather the keys, put them into this rank's queue, and read the queue; against the gather alone.</summary>
internal static class MirrorBench
{
    private const int World = 2;

    /// <returns>The median of append and read, in milliseconds.</returns>
    public static async Task<double> RunAsync(int batch, bool float16)
    {
        var steps = Math.Clamp(60_000 / batch, 40, 200);
        await using var first = await PeerServer.StartAsync();
        await using var second = await PeerServer.StartAsync();
        PeerServer[] servers = [first, second];
        string[] peers = [.. servers.Select(s => s.Address)];
        var ranks = await Task.WhenAll(servers.Select((server, rank) =>
            GrpcCollective.ConnectAsync(server, new CollectiveOptions { Generation = 1, Rank = rank, Peers = peers })));
        var (gather, bank) = (new Times(), new Times());
        var threads = ranks.Select(rank => new Thread(() => Work(rank, batch, float16, steps, gather, bank))).ToList();
        threads.ForEach(t => t.Start());
        threads.ForEach(t => t.Join());
        foreach (var rank in ranks)
            await rank.DisposeAsync();

        // Each of the two ranks must hear of the other's half.
        var minimum = (long)batch * Times.Dimensions * (float16 ? 2 : 4);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"B={batch}, {(float16 ? "float16" : "float32")}, queue {Times.Queue:N0} x {Times.Dimensions}, {World} ranks, {Times.Rounds} rounds of {steps} steps each side, one warm-up round"));
        Console.WriteLine(gather.Line("gather of the keys alone", minimum));
        Console.WriteLine(bank.Line("mirror: gather, append, read the queue", minimum));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  RATIO mirror_to_gather {bank.Median / gather.Median:0.00}"));
        return bank.Median;
    }

    private static void Work(GrpcCollective rank, int batch, bool float16, int steps, Times gather, Times bank)
    {
        using var scope = NewDisposeScope();
        using var off = no_grad();
        using var queue = new KeyQueue(Times.Queue, batch, Times.Dimensions, new BankOptions { Float16 = float16 });
        var share = new RankShare(rank, [batch / World, batch / World]);
        var keys = normalize(randn(batch / World, Times.Dimensions), dim: 1);
        var step = 0L;
        for (var round = -1; round < Times.Rounds; round++)
        {
            // Turn by turn, a few steps each: the machine's moods meet both sides.
            Turn(gather, () => rank.AllGather(float16 ? keys.to(ScalarType.Float16) : keys, share.Counts).Dispose());
            Turn(bank, () =>
            {
                queue.Append(queue.Gather(keys, share), ++step);
                queue.Keys(ScalarType.Float32);
            });

            void Turn(Times times, Action act)
            {
                rank.Barrier();
                var before = Times.Loopback();
                for (var i = 0; i < steps; i++)
                {
                    using var inner = NewDisposeScope();
                    rank.Barrier();
                    var started = Stopwatch.GetTimestamp();
                    act();
                    if (rank.Rank == 0 && round >= 0)
                        times.Add(Stopwatch.GetElapsedTime(started));
                }

                if (rank.Rank == 0 && round >= 0)
                    times.Passed((Times.Loopback() - before) / (double)steps);
            }
        }
    }
}

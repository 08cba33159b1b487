using System.Diagnostics;
using System.Globalization;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Bank.Bench;

/// <summary>
/// The part that a step waits for: gather the keys, put them into this rank's queue, and read all of the queue; against the gather alone, and against the
/// same reading of a plain tensor.
/// </summary>
internal sealed class MirrorBench(int world, int batch, bool float16, TimeSpan each)
{
    /// <summary>Queries that read the queue: few, so that what is measured is the reading, not a step's own arithmetic.</summary>
    private const int Queries = 4;

    private const int StepsOfARound = 20, LeastRounds = 5, MostRounds = 50;

    private readonly Times _gather = new(), _append = new(), _read = new(), _both = new(), _plain = new();

    public static void Head(Page page) =>
        page.Columns("B", "rows", "ranks", "gather alone", "append (with its gather)", "read", "read of a plain tensor", "append + read", "samples", "wire, KiB a step", "/ minimum");

    /// <returns>The median of append and read, in milliseconds.</returns>
    public async Task<double> RunAsync(Page page)
    {
        var servers = await Task.WhenAll(Enumerable.Range(0, world).Select(_ => PeerServer.StartAsync()));
        string[] peers = [.. servers.Select(s => s.Address)];
        var ranks = await Task.WhenAll(servers.Select((server, rank) =>
            GrpcCollective.ConnectAsync(server, new CollectiveOptions { Generation = 1, Rank = rank, Peers = peers })));
        var threads = ranks.Select(rank => new Thread(() => Work(rank))).ToList();
        threads.ForEach(t => t.Start());
        threads.ForEach(t => t.Join());
        foreach (var rank in ranks)
            await rank.DisposeAsync();
        foreach (var server in servers)
            await server.DisposeAsync();

        // Each rank must hear of the others' rows.
        var minimum = (world - 1.0) * batch * Times.Dimensions * (float16 ? 2 : 4);
        page.Row(
            Text($"{batch:N0}"), float16 ? "float16" : "float32", Text($"{world}"), _gather.Spread, _append.Spread, _read.Spread, _plain.Spread, _both.Spread,
            Text($"{_both.Count}"), Text($"{_append.Bytes / 1024:0.0}"), Text($"{_append.Bytes / minimum:0.00}"));
        return _both.Median;
    }

    private void Work(GrpcCollective rank)
    {
        using var scope = NewDisposeScope();
        using var off = no_grad();
        using var queue = new KeyQueue(Times.Queue, batch, Times.Dimensions, new BankOptions { Float16 = float16 });
        var share = new RankShare(rank, [.. Enumerable.Repeat(batch / world, world)]);
        var keys = normalize(randn(batch / world, Times.Dimensions), dim: 1);
        var queries = normalize(randn(Queries, Times.Dimensions), dim: 1);
        var plain = queue.Keys(ScalarType.Float32).clone();
        var (step, clock) = (0L, Stopwatch.StartNew());
        for (var round = -1; Continues(rank, round, clock); round++)
        {
            var counts = rank.Rank == 0 && round >= 0;
            // Turn by turn, a few steps each: the machine's moods meet all sides.
            Turn(_gather, () => Note(_gather, Timed(() => rank.AllGather(float16 ? keys.to(ScalarType.Float16) : keys, share.Counts).Dispose())));
            Turn(_plain, () => Note(_plain, Timed(() => queries.matmul(plain.t()))));
            Turn(_append, () =>
            {
                var append = Timed(() => queue.Append(queue.Gather(keys, share), ++step));
                var read = Timed(() => queries.matmul(queue.Keys(ScalarType.Float32).t()));
                Note(_append, append);
                Note(_read, read);
                Note(_both, append + read);
            });

            void Turn(Times times, Action act)
            {
                rank.Barrier();
                var before = Times.Loopback();
                for (var i = 0; i < StepsOfARound; i++)
                {
                    using var inner = NewDisposeScope();
                    rank.Barrier();
                    act();
                }

                rank.Barrier();
                if (counts)
                    times.Passed((Times.Loopback() - before) / (double)StepsOfARound);
            }

            void Note(Times times, TimeSpan took)
            {
                if (counts)
                    times.Add(took);
            }
        }
    }

    /// <summary>Rank 0 decides for all, which must make the same calls.</summary>
    private bool Continues(GrpcCollective rank, int round, Stopwatch clock)
    {
        byte[] more = [round < LeastRounds || (round < MostRounds && clock.Elapsed < each) ? (byte)1 : (byte)0];
        rank.Broadcast(more, 0);
        return more[0] == 1;
    }

    private static TimeSpan Timed(Action act)
    {
        var started = Stopwatch.GetTimestamp();
        act();
        return Stopwatch.GetElapsedTime(started);
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

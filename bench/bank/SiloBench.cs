using System.Diagnostics;
using System.Globalization;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Tests.Banks;
using Google.Protobuf;

namespace DarkMatter.Bank.Bench;

/// <summary>The part that no step waits for: a batch's rows to the bank grain, and from it to a reader that takes what changed.</summary>
internal static class SiloBench
{
    private const int Lanes = 16;
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    public static async Task RunAsync(int batch, bool float16)
    {
        var steps = Math.Clamp(20_000 / batch, 20, 100);
        var rowBytes = Times.Dimensions * (float16 ? 2 : 4);
        await using var silo = await BankSilo.StartAsync();
        var generation = await silo.NextGenerationAsync();
        using var feed = silo.Client.Feed();
        var reader = new BankReader(silo.Client, BankSilo.Run, "queue");
        var rows = new byte[(long)batch * rowBytes];
        new Random(1).NextBytes(rows);
        await AskAsync(new BankMessage { Open = new BankOpening { Rows = Times.Queue, RowBytes = rowBytes, Lanes = Lanes } }, 0);
        await AskAsync(new BankMessage { Seed = new BankSeedPart { Begins = true, Ends = true } }, 0);

        var (append, read) = (new Times(), new Times());
        var step = 0L;
        for (var round = -1; round < Times.Rounds; round++)
        {
            var (appended, received) = (0L, 0L);
            for (var i = 0; i < steps; i++)
            {
                var message = new BankMessage { Append = new BankAppend() };
                for (var lane = 0; lane < Lanes; lane++)
                {
                    var (first, end) = (lane * batch / Lanes, (lane + 1) * batch / Lanes);
                    message.Append.Lanes.Add(new BankLaneRows
                    {
                        Lane = lane,
                        FirstPlace = (step * batch % Times.Queue) + first,
                        Rows = UnsafeByteOperations.UnsafeWrap(rows.AsMemory(first * rowBytes, (end - first) * rowBytes)),
                    });
                }

                var (started, before) = (Stopwatch.GetTimestamp(), Times.Loopback());
                await AskAsync(message, ++step);
                var (appendTook, between) = (Stopwatch.GetElapsedTime(started), Times.Loopback());
                started = Stopwatch.GetTimestamp();
                await reader.ReadAsync(Deadline, CancellationToken.None);
                if (round < 0)
                    continue;
                append.Add(appendTook);
                read.Add(Stopwatch.GetElapsedTime(started));
                (appended, received) = (appended + between - before, received + Times.Loopback() - between);
            }

            if (round < 0)
                continue;
            append.Passed(appended / (double)steps);
            read.Passed(received / (double)steps);
        }

        if (reader.Step != step || reader.Received != batch)
            throw new InvalidOperationException($"the reader is at step {reader.Step} of {step} and got {reader.Received} rows of {batch}");
        Console.WriteLine(append.Line("silo: append a step (off the training thread)", rows.Length));
        Console.WriteLine(read.Line("silo: a reader takes what changed", rows.Length));

        async Task AskAsync(BankMessage message, long step)
        {
            (message.Run, message.Bank, message.Generation, message.Step) = (BankSilo.Run, "queue", generation, step);
            await feed.RequestStream.WriteAsync(message);
            if (!await feed.ResponseStream.MoveNext(CancellationToken.None) || feed.ResponseStream.Current is { Refusal: not 0 } || (message.Open is null && feed.ResponseStream.Current.Step < step))
                throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture, $"step {step}: {feed.ResponseStream.Current}"));
        }
    }
}

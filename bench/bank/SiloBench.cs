using System.Diagnostics;
using System.Globalization;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Tests.Banks;
using Google.Protobuf;

namespace DarkMatter.Bank.Bench;

/// <summary>The part that no step waits for: a batch's rows to the bank grain, and from it to a reader that takes what changed.</summary>
internal sealed class SiloBench(int batch, bool float16, TimeSpan each)
{
    private const int Lanes = 16, Warmup = 10, LeastSteps = 50, MostSteps = 1000;
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    private readonly Times _append = new(), _read = new(), _both = new();
    private readonly int _rowBytes = Times.Dimensions * (float16 ? 2 : 4);

    public static void Head(Page page) =>
        page.Columns("B", "rows", "append a step", "a reader takes what changed", "append + read", "samples", "wire of append, KiB", "/ minimum", "wire of read, KiB", "/ minimum");

    public async Task RunAsync(Page page)
    {
        await using var silo = await BankSilo.StartAsync();
        var generation = await silo.NextGenerationAsync();
        using var feed = silo.Client.Feed();
        var reader = new BankReader(silo.Client, BankSilo.Run, "queue");
        var rows = new byte[(long)batch * _rowBytes];
        new Random(1).NextBytes(rows);
        await AskAsync(new BankMessage { Open = new BankOpening { Rows = Times.Queue, RowBytes = _rowBytes, Lanes = Lanes } }, 0);
        await AskAsync(new BankMessage { Seed = new BankSeedPart { Begins = true, Ends = true } }, 0);

        var clock = Stopwatch.StartNew();
        for (var step = 1L; step <= Warmup + LeastSteps || (step <= Warmup + MostSteps && clock.Elapsed < each); step++)
        {
            var (message, before) = (Message(step, rows), Times.Loopback());
            var started = Stopwatch.GetTimestamp();
            await AskAsync(message, step);
            var (append, between) = (Stopwatch.GetElapsedTime(started), Times.Loopback());
            started = Stopwatch.GetTimestamp();
            await reader.ReadAsync(Deadline, CancellationToken.None);
            var (read, after) = (Stopwatch.GetElapsedTime(started), Times.Loopback());
            if (reader.Step != step || (step > 1 && reader.Received != batch))
                throw new InvalidOperationException($"the reader is at step {reader.Step} of {step} and got {reader.Received} rows of {batch}");
            if (step <= Warmup)
                continue;
            _append.Add(append);
            _read.Add(read);
            _both.Add(append + read);
            _append.Passed(between - before);
            _read.Passed(after - between);
        }

        page.Row(
            Text($"{batch:N0}"), float16 ? "float16" : "float32", _append.Spread, _read.Spread, _both.Spread, Text($"{_both.Count}"),
            Text($"{_append.Bytes / 1024:0.0}"), Text($"{_append.Bytes / rows.Length:0.00}"), Text($"{_read.Bytes / 1024:0.0}"), Text($"{_read.Bytes / rows.Length:0.00}"));

        async Task AskAsync(BankMessage message, long step)
        {
            (message.Run, message.Bank, message.Generation, message.Step) = (BankSilo.Run, "queue", generation, step);
            await feed.RequestStream.WriteAsync(message);
            if (!await feed.ResponseStream.MoveNext(CancellationToken.None) || feed.ResponseStream.Current is { Refusal: not 0 } || (message.Open is null && feed.ResponseStream.Current.Step < step))
                throw new InvalidOperationException(Text($"step {step}: {feed.ResponseStream.Current}"));
        }
    }

    private BankMessage Message(long step, byte[] rows)
    {
        var message = new BankMessage { Append = new BankAppend() };
        for (var lane = 0; lane < Lanes; lane++)
        {
            var (first, end) = (lane * batch / Lanes, (lane + 1) * batch / Lanes);
            message.Append.Lanes.Add(new BankLaneRows
            {
                Lane = lane,
                FirstPlace = ((step - 1) * batch % Times.Queue) + first,
                Rows = UnsafeByteOperations.UnsafeWrap(rows.AsMemory(first * _rowBytes, (end - first) * _rowBytes)),
            });
        }

        return message;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

using System.Diagnostics;
using System.Globalization;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Tests.Banks;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Bank.Bench;

/// <summary>A row for every image: what it takes of memory, what an update costs the training thread, and the way to a silo and a reader.</summary>
internal sealed class MemoryBench(int images, TimeSpan each)
{
    private const int Batch = 4096, Lanes = 16, LeastSteps = 20, MostSteps = 500;

    private readonly Times _update = new(), _read = new();

    public async Task RunAsync(Page page)
    {
        var start = ResidentMemory.Bytes();
        await using var silo = await BankSilo.StartAsync();
        await using var trainer = new FedTrainer(Options, silo.Client);
        var trainers = ResidentMemory.Bytes() - start;
        var rows = Rows();
        var random = new Random(1);
        for (var first = 0; first < images; first += Batch)
            trainer.Write(new ImageRows([.. Enumerable.Range(0, Batch).Select(i => (long)Math.Min(images - 1, first + i))], rows.clone()));

        var clock = Stopwatch.StartNew();
        trainer.Begin(new SingleRank(await silo.NextGenerationAsync()), 0, Lanes);
        var reader = new BankReader(silo.Client, BankSilo.Run, "memory");
        await reader.UntilAsync(step => step == trainer.Memory.Updates);
        var (whole, afterSeed) = (clock.Elapsed, ResidentMemory.Bytes() - start);

        clock.Restart();
        for (var i = 0; i < LeastSteps || (i < MostSteps && clock.Elapsed < each); i++)
        {
            long[] places = [.. Enumerable.Range(0, Batch).Select(_ => random.NextInt64(images))];
            var batch = rows.clone();
            var started = Stopwatch.GetTimestamp();
            trainer.Write(new ImageRows(places, batch));
            _update.Add(Stopwatch.GetElapsedTime(started));
            await reader.UntilAsync(step => step == trainer.Memory.Updates);
            _read.Add(Stopwatch.GetElapsedTime(started));
        }

        rows.Dispose();
        var bytes = (long)images * Times.Dimensions * sizeof(float);
        page.Columns("rows", "bytes of the rows", "trainer", "trainer, silo and reader", "peak of all three", "silo and reader whole", "update, training thread", "from update to reader", "samples");
        page.Row(
            Text($"{images:N0} × {Times.Dimensions}, float32"), Megabytes(bytes), Megabytes(trainers), Megabytes(afterSeed), Megabytes(ResidentMemory.Peak() - start),
            Text($"{whole.TotalSeconds:0.0} s"), _update.Spread, _read.Spread, Text($"{_read.Count}"));
    }

    private TrainOptions Options => new()
    {
        Run = BankSilo.Run,
        GlobalBatch = Batch,
        LaneCount = Lanes,
        FirstLane = 0,
        Lanes = Lanes,
        ImageSize = 24,
        TotalSteps = 1,
        DatasetImages = images,
        Model = new ResNetOptions { Width = 8, Stem = ResNetStem.SmallStride2 },
        Method = new PirlOptions { Negatives = 8, ProjectorOutput = Times.Dimensions },
    };

    private static Tensor Rows()
    {
        using var off = no_grad();
        using var random = randn(Batch, Times.Dimensions);
        return normalize(random, dim: 1);
    }

    private static string Megabytes(long bytes) => Text($"{bytes / 1e6:N0} MB");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

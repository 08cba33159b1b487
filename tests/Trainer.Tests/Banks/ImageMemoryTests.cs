using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Banks;

[Collection(TorchCollection.Name)]
public sealed class ImageMemoryTests
{
    private const int D = 5, Batch = 6;
    private const double Momentum = 0.5;

    /// <summary>More than one partition, to which the dataset's last images belong.</summary>
    private const long Images = ImageMemory.PartitionRows + 100;

    [Theory]
    [InlineData(0, 6)]
    [InlineData(0, 4, 2)]
    [InlineData(0, 1, 3, 2)]
    [InlineData(2, 2, 2, 1, 1)]
    public void Follow_OnAnyWorld_IsTheAverageWrittenOut(int staleness, params int[] counts)
    {
        var outcomes = ThreadRanks.Run(counts.Length, ranks => Train(ranks, counts, staleness, steps: 7));
        outcomes.Select(o => o.Hash).Distinct().Count().ShouldBe(1, "every rank holds the same bits");
        var expected = Twin(outcomes[0].First, staleness, steps: 7);
        foreach (var (image, row) in expected)
            outcomes[0].Rows[image].ShouldBe(row, 1e-6, $"image {image}");
    }

    [Fact]
    public void Read_UnseenImages_AreUnitRowsAndTheSameAgain()
    {
        using var scope = NewDisposeScope();
        using var memory = new ImageMemory(Images, Batch, D, new BankOptions());
        var rows = memory.Read([0, 1, Images - 1], ScalarType.Float64);
        (rows.norm(1) - 1).abs().max().item<double>().ShouldBeLessThan(1e-6);
        SmallMethods.Doubles(memory.Read([0, 1, Images - 1], ScalarType.Float64)).ShouldBe(SmallMethods.Doubles(rows));
    }

    [Fact]
    public void Read_ManyUnseenImages_AreDirectionsOfTheirOwn()
    {
        using var scope = NewDisposeScope();
        using var memory = new ImageMemory(Images, Batch, 64, new BankOptions());
        // Whole multiples of the 4,096 directions apart, and neighbours.
        var rows = memory.Read([.. Enumerable.Range(0, 16).Select(i => 7L + (4096 * i)), .. Enumerable.Range(0, 16).Select(i => 8300L + i)], ScalarType.Float64);
        var cosines = SmallMethods.Doubles(rows.matmul(rows.t()));
        cosines.Index().Where(c => c.Index / 32 != c.Index % 32).Max(c => Math.Abs(c.Item)).ShouldBeLessThan(0.9, "those that share a direction would have 1");
    }

    [Fact]
    public void Draw_AtEachUpdate_IsOtherImagesEachOnce()
    {
        using var scope = NewDisposeScope();
        using var memory = new ImageMemory(Images, 1, D, new BankOptions());
        var first = memory.Draw(1000);
        first.ShouldAllBe(image => image >= 0 && image < Images);
        first.Distinct().Count().ShouldBe(1000);
        memory.Draw(1000).ShouldBe(first);
        memory.Follow(new ImageRows([3], ones(1, D)), step: 1);
        memory.Draw(1000).Intersect(first).Count().ShouldBeLessThan(100);
        memory.Draw(int.MaxValue).Length.ShouldBe((int)Images, "there are no more");
    }

    [Fact]
    public void Follow_AnImageTwiceInABatch_TheLaterCounts()
    {
        using var scope = NewDisposeScope();
        using var memory = new ImageMemory(10, 3, 2, new BankOptions());
        memory.Follow(new ImageRows([7, 2, 7], tensor(new float[] { 1, 0, 0, 1, 0, -1 }).view(3, 2)), step: 1);
        SmallMethods.Doubles(memory.Read([7, 2], ScalarType.Float32)).ShouldBe([0, -1, 0, 1]);
    }

    [Fact]
    public void Create_WithoutTheNumberOfImages_IsRefused() =>
        Should.Throw<ArgumentException>(() => new ImageMemory(0, Batch, D, new BankOptions())).Message.ShouldContain("the number of images in the dataset");

    /// <summary>ImageNet: 1.3 M × 128.</summary>
    [Theory]
    [InlineData(false, 665_600_000)]
    [InlineData(true, 332_800_000)]
    public void Memory_OfImageNet_IsThatOfTheRows(bool float16, long bytes)
    {
        using var scope = NewDisposeScope();
        using (var small = new ImageMemory(1000, 256, 128, new BankOptions { Float16 = float16 }))    // what libtorch takes once is not the memory's
            small.Follow(new ImageRows([.. Enumerable.Range(0, 256).Select(i => (long)i)], ones(256, 128)), step: 1);
        var before = ResidentMemory.Bytes();
        using var memory = new ImageMemory(1_300_000, 256, 128, new BankOptions { Float16 = float16 });
        memory.Bytes.ShouldBe(bytes + (4096 * 128 * (float16 ? 2 : 4)) + sizeof(long));
        memory.Follow(new ImageRows([.. Enumerable.Range(0, 256).Select(i => (long)i)], ones(256, 128)), step: 1);
        (ResidentMemory.Bytes() - before).ShouldBeLessThan(bytes + 64_000_000);
    }

    private static (double[] First, ulong Hash, Dictionary<long, double[]> Rows) Train(ICollective ranks, int[] counts, int staleness, int steps)
    {
        using var scope = NewDisposeScope();
        ImageMemory memory;
        lock (TrainingLock)
        {
            manual_seed(3);
            memory = new ImageMemory(Images, Batch, D, new BankOptions { Staleness = staleness });
        }

        using var _ = memory;
        var share = new RankShare(ranks, counts);
        var first = SmallMethods.Doubles(memory.Read([.. Enumerable.Range(0, 4096).Select(i => (long)i)], ScalarType.Float64));
        for (var step = 1; step <= steps; step++)
        {
            share.Show(Numbers(step)[share.Offset..(share.Offset + share.Count)]);
            var mine = Embeddings(step)[share.Offset..(share.Offset + share.Count)];
            memory.Follow(memory.Gather(Methods.Rows.Tensor(mine).to(ScalarType.Float32), Momentum, share), step);
        }

        var all = Enumerable.Range(1, steps).SelectMany(Numbers).Distinct().ToArray();
        return (first, memory.Hash(), all.Zip(SmallMethods.Doubles(memory.Read(all, ScalarType.Float64)).Chunk(D)).ToDictionary());
    }

    private static readonly Lock TrainingLock = new();

    private static Dictionary<long, double[]> Twin(double[] first, int staleness, int steps)
    {
        var directions = first.Chunk(D).ToArray();
        var rows = Enumerable.Range(1, steps).SelectMany(Numbers).Distinct().ToDictionary(image => image, image => directions[image % 4096].Zip(directions[image / 4096 % 4096], (v, sign) => sign < 0 ? -v : v).ToArray());
        var newest = rows.ToDictionary();                                       // also what is not shown yet
        var waiting = new Queue<(long Image, double[] Row)[]>();
        for (var step = 1; step <= steps; step++)
        {
            waiting.Enqueue([.. Numbers(step).Zip(Embeddings(step), (image, v) =>
                (image, newest[image] = Methods.Rows.Unit([[.. newest[image].Zip(v, (m, x) => (Momentum * m) + ((1 - Momentum) * x))]])[0]))]);
            if (waiting.Count <= staleness)
                continue;
            foreach (var (image, row) in waiting.Dequeue())
                rows[image] = row;
        }

        return rows;
    }

    /// <summary>Few images, so that each comes again soon; of both partitions.</summary>
    private static long[] Numbers(int step) => [.. Enumerable.Range(0, Batch).Select(i => ((step * 5) + i) % 11 is var n && n % 2 == 0 ? n : Images - 1 - n)];

    private static double[][] Embeddings(int step) => Methods.Rows.Unit(Methods.Rows.Random(Batch, D, 100 + step));
}

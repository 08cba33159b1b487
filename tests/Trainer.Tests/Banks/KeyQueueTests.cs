using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Banks;

[Collection(TorchCollection.Name)]
public sealed class KeyQueueTests
{
    private const int Batch = 4, Length = 12, D = 3;

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public void Append_WithStaleness_ShowsTheQueueOfSoManyStepsBefore(int staleness)
    {
        using var scope = NewDisposeScope();
        using var queue = new KeyQueue(Length, Batch, D, new BankOptions { Staleness = staleness });
        var history = new List<double[][]> { Rows(queue) };                      // the slow twin: every queue there ever was
        for (var step = 1; step <= 9; step++)
        {
            var keys = Random(step);
            var next = history[^1].ToArray();
            keys.CopyTo(next, (step - 1) * Batch % Length);
            history.Add(next);
            queue.Append(Methods.Rows.Tensor(keys).to(ScalarType.Float32), step);
            queue.Updates.ShouldBe(step);
            Rows(queue).SelectMany(r => r).ShouldBe(history[Math.Max(0, step - staleness)].SelectMany(r => r), 1e-7, $"step {step}");
        }
    }

    [Fact]
    public void Append_Float16_KeepsRowsInHalfTheBytesRoundedOnce()
    {
        using var scope = NewDisposeScope();
        using var queue = new KeyQueue(Length, Batch, D, new BankOptions { Float16 = true });
        var keys = Random(1);
        var ranks = new SingleRank(1);
        queue.Append(queue.Gather(Methods.Rows.Tensor(keys).to(ScalarType.Float32), new RankShare(ranks, [Batch])), step: 1);
        Rows(queue).Take(Batch).SelectMany(r => r).ShouldBe(keys.SelectMany(r => r).Select(x => (double)(Half)(float)x));
        queue.Bytes.ShouldBe((Length * D * 2) + sizeof(long));
    }

    [Fact]
    public void Append_StepThatDoesNotFollow_IsRefused()
    {
        using var scope = NewDisposeScope();
        using var queue = new KeyQueue(Length, Batch, D, new BankOptions());
        Should.Throw<InvalidOperationException>(() => queue.Append(zeros(Batch, D), step: 2)).Message.ShouldContain("those of update 2 cannot follow");
    }

    [Theory]
    [InlineData(false, 33_554_432)]
    [InlineData(true, 16_777_216)]
    public void Bytes_Of65536KeysOf128_AreThoseOfTheRows(bool float16, long bytes)
    {
        using var scope = NewDisposeScope();
        using var queue = new KeyQueue(65_536, 256, 128, new BankOptions { Float16 = float16 });
        queue.Bytes.ShouldBe(bytes + sizeof(long));
    }

    [Theory]
    [InlineData(10, 4)]
    [InlineData(2, 4)]
    [InlineData(4, 0)]
    public void Create_QueueThatBatchesDoNotFill_IsRefused(int length, int batch) =>
        Should.Throw<ArgumentException>(() => new KeyQueue(length, batch, D, new BankOptions())).Message.ShouldContain($"a queue of {length} keys is not filled by whole batches of {batch}");

    private static double[][] Random(int seed) => Methods.Rows.Unit(Methods.Rows.Random(Batch, D, seed));

    private static double[][] Rows(KeyQueue queue) => [.. SmallMethods.Doubles(queue.Keys(ScalarType.Float64)).Chunk(D)];
}

using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Training;

public sealed class StateMemoryTests
{
    [Fact]
    public void ReadAndWrite_AcrossTensorsOfEveryLayout_AreOneRowOfBytes()
    {
        using var scope = NewDisposeScope();
        var strided = arange(12, dtype: ScalarType.Float32).view(3, 4).t();       // not contiguous
        Tensor[] tensors = [arange(5, dtype: ScalarType.Int64), empty([0]), strided, tensor(7.5f)];
        using var memory = new StateMemory(tensors);
        memory.Bytes.ShouldBe(40 + 48 + 4);
        var all = new byte[memory.Bytes];
        memory.Read(0, all);
        for (var length = 1; length < 30; length += 7)
        {
            for (var offset = 0; offset + length <= memory.Bytes; offset++)
            {
                var part = new byte[length];
                memory.Read(offset, part);
                part.ShouldBe(all[offset..(offset + length)]);
            }
        }

        Tensor[] others = [zeros(5, dtype: ScalarType.Int64), empty([0]), zeros([4, 3]).t().contiguous().t(), zeros(Array.Empty<long>())];
        using (var target = new StateMemory(others))
        {
            for (var offset = 0; offset < all.Length; offset += 13)
                target.Write(offset, all.AsSpan(offset, Math.Min(13, all.Length - offset)));
            target.Flush();
        }

        foreach (var (one, other) in tensors.Zip(others))
            other.contiguous().bytes.SequenceEqual(one.contiguous().bytes).ShouldBeTrue();
        Should.Throw<ArgumentOutOfRangeException>(() => memory.Read(memory.Bytes - 1, new byte[2]));
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(63, 3)]
    [InlineData(1_000_003, 4)]
    [InlineData(6_400, 5)]
    public void Ranges_OfAnyLength_CoverEveryByteOnce(long bytes, int parts)
    {
        var ranges = Healing.Ranges(bytes, parts).ToList();
        ranges.Count.ShouldBe(parts);
        ranges[0].Offset.ShouldBe(0);
        for (var i = 1; i < parts; i++)
            ranges[i].Offset.ShouldBe(ranges[i - 1].Offset + ranges[i - 1].Length);
        ranges.Sum(r => r.Length).ShouldBe(bytes);
        ranges.ShouldAllBe(r => r.Offset % 64 == 0 && r.Length >= 0);
    }

    [Fact]
    public void Guard_RestoresWhatAForwardPassChanged_AndOnlyThen()
    {
        using var scope = NewDisposeScope();
        Tensor[] buffers = [ones(3), tensor(4L)];
        using var guard = new StepGuard(buffers);
        guard.Open();
        buffers[0].add_(1);
        buffers[1].add_(1);
        guard.Restore();
        (buffers[0].sum().item<float>(), buffers[1].item<long>()).ShouldBe((3f, 4L));
        guard.Open();
        buffers[0].add_(1);
        guard.Close();
        guard.Restore();
        buffers[0].sum().item<float>().ShouldBe(6f, "the step was applied");
    }
}

using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Training;

public sealed class StateHashTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(8)]
    [InlineData(31)]
    [InlineData(32)]
    [InlineData(67)]
    public void Of_AnySingleBitFlipped_Differs(int length)
    {
        var bytes = new byte[length];
        new Random(1).NextBytes(bytes);
        var seen = new HashSet<ulong> { StateHash.Of(bytes) };
        for (var bit = 0; bit < 8 * length; bit++)
        {
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            seen.Add(StateHash.Of(bytes)).ShouldBeTrue($"bit {bit}");
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
        }
    }

    [Fact]
    public void Of_ZerosOfDifferentLengths_Differ() =>
        Enumerable.Range(0, 200).Select(n => StateHash.Of(new byte[n])).Distinct().Count().ShouldBe(200);

    [Fact]
    public void Of_WordsSwapped_Differ()
    {
        var bytes = Enumerable.Range(0, 64).Select(i => (byte)i).ToArray();
        var swapped = bytes[32..].Concat(bytes[..32]).ToArray();
        StateHash.Of(swapped).ShouldNotBe(StateHash.Of(bytes));
    }
}

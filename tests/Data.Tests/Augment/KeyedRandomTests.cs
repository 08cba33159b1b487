using System.Numerics;

namespace DarkMatter.Data.Tests.Augment;

public class KeyedRandomTests
{
    [Fact]
    public void Key_AnyWordChanged_ChangesHalfTheBits()
    {
        var flipped = new double[64];
        const int Trials = 4000;
        for (var trial = 0; trial < Trials; trial++)
        {
            var key = KeyedRandom.ForView(trial, trial / 7, trial * 31L, trial % 4);
            KeyedRandom[] neighbours =
            [
                KeyedRandom.ForView(trial + 1, trial / 7, trial * 31L, trial % 4), KeyedRandom.ForView(trial, trial / 7 + 1, trial * 31L, trial % 4),
                KeyedRandom.ForView(trial, trial / 7, trial * 31L + 1, trial % 4), KeyedRandom.ForView(trial, trial / 7, trial * 31L, trial % 4 + 1),
            ];
            foreach (var neighbour in neighbours)
            {
                var difference = key.Bits(3) ^ neighbour.Bits(3);
                for (var bit = 0; bit < 64; bit++)
                    flipped[bit] += difference >> bit & 1;
            }
        }

        // 16,000 coins a bit: the standard deviation of the share is 0.004.
        foreach (var count in flipped)
            (count / (4 * Trials)).ShouldBe(0.5, 0.02);
    }

    [Fact]
    public void Mix_DifferentInputs_NeverMeet()
    {
        var seen = new HashSet<ulong>();
        for (var i = 0UL; i < 100_000; i++)
            seen.Add(KeyedRandom.Mix(i)).ShouldBeTrue();
    }

    [Fact]
    public void Unit_ConsecutiveDrawsAndKeys_AreUniformAndIndependent()
    {
        const int Count = 200_000;
        double sum = 0, squares = 0, byDraw = 0, byKey = 0;
        var buckets = new int[64];
        for (var i = 0; i < Count; i++)
        {
            var key = KeyedRandom.ForView(1, 0, i, 0);
            var u = key.Unit(0) - 0.5;
            sum += u;
            squares += u * u;
            byDraw += u * (key.Unit(1) - 0.5);
            byKey += u * (KeyedRandom.ForView(1, 0, i + 1, 0).Unit(0) - 0.5);
            buckets[(int)((u + 0.5) * 64)]++;
        }

        // Five standard deviations: of a mean √(1/12/n), of a product's mean 1/12/√n.
        (sum / Count).ShouldBe(0, 5 * Math.Sqrt(1.0 / 12 / Count));
        (squares / Count).ShouldBe(1.0 / 12, 0.001);
        (byDraw / Count).ShouldBe(0, 5.0 / 12 / Math.Sqrt(Count));
        (byKey / Count).ShouldBe(0, 5.0 / 12 / Math.Sqrt(Count));
        buckets.Sum(hits => Math.Pow(hits - Count / 64.0, 2) / (Count / 64.0)).ShouldBeLessThan(130); // χ², 63 degrees: once in 10⁶
    }

    [Fact]
    public void Below_AnyCount_IsInsideAndReachesBothEnds()
    {
        foreach (var count in new[] { 1, 2, 3, 24, 1000 })
        {
            var values = Enumerable.Range(0, 20_000).Select(i => new KeyedRandom((ulong)i).Below(5, count)).ToList();
            values.Min().ShouldBe(0);
            values.Max().ShouldBe(count - 1);
        }
    }

    [Fact]
    public void Bits_FixedKeys_NeverChange()
    {
        // A change here changes every run's views: it needs a new major version.
        var key = KeyedRandom.ForView(1, 2, 3, 4);
        BitOperations.PopCount(key.Key).ShouldBeInRange(16, 48);
        (key.Key, key.Bits(0), key.Bits(1)).ShouldBe(Golden);
    }

    private static readonly (ulong, ulong, ulong) Golden = (7876936467222775817, 13167838531806065501, 12437644025227484475);
}

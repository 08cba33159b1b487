namespace DarkMatter.Data;

/// <summary>
/// A counter-based random generator: draw i of key k is a pure function of (k, i), so nothing depends on who draws, when, or how often.
/// </summary>
/// <remarks>
/// A key absorbs 64-bit words one by one: k ← Mix((k xor word) + Stride). Draw i is Mix(k + Stride·(i+1)). Mix is a bijection of 64 bits
/// (xor-shift, odd multiply, twice, xor-shift) in which every input bit reaches every output bit, and Stride is odd, so the draws of one
/// key repeat only after 2⁶⁴. Each use has its own fixed i: a new use never shifts the others. Not for secrets.
/// </remarks>
public readonly record struct KeyedRandom(ulong Key)
{
    internal const ulong Stride = 0xD1B54A32D192ED03;

    /// <summary>The key of (seed, epoch, sample, view).</summary>
    public static KeyedRandom ForView(long seed, long epoch, long sample, int view) =>
        new KeyedRandom(0).With(seed).With(epoch).With(sample).With(view);

    /// <summary>The key that also depends on <paramref name="word"/>; the order of the words matters.</summary>
    public KeyedRandom With(long word) => new(Mix((Key ^ (ulong)word) + Stride));

    /// <summary>64 random bits.</summary>
    public ulong Bits(int index) => Mix(Key + Stride * ((ulong)index + 1));

    /// <summary>Uniform in [0, 1), with 53 random bits.</summary>
    public double Unit(int index) => (Bits(index) >> 11) * (1.0 / (1UL << 53));

    /// <summary>Uniform in [<paramref name="low"/>, <paramref name="high"/>).</summary>
    public double Uniform(int index, double low, double high) => low + (high - low) * Unit(index);

    /// <summary>Uniform in 0..<paramref name="count"/>−1.</summary>
    public int Below(int index, int count) => (int)(((UInt128)Bits(index) * (uint)count) >> 64);

    internal static ulong Mix(ulong x)
    {
        x ^= x >> 31;
        x *= 0x9E6C63D0676A9A99;
        x ^= x >> 29;
        x *= 0xC2B2AE3D27D4EB4F;
        return x ^ (x >> 32);
    }
}

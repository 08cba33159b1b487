using System.Numerics;

namespace DarkMatter.Data;

/// <summary>
/// A keyed permutation of 0..n−1 in constant memory: an alternating Feistel network over the smallest power of two that holds n, and
/// cycle walking back into the range (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
/// </summary>
/// <remarks>
/// The two halves have ⌊b/2⌋ and ⌈b/2⌉ bits, b = ⌈log₂ n⌉; each round xors one half with a hash of the other, which undoes itself, so
/// every round is a bijection. The domain is smaller than 2n, so a walk takes fewer than two steps on average.
/// </remarks>
public readonly struct Feistel
{
    private const int Rounds = 6;

    private readonly ulong _key;
    private readonly ulong _count;
    private readonly int _lowBits;
    private readonly ulong _lowMask;
    private readonly ulong _highMask;

    /// <summary>The permutation of 0..<paramref name="count"/>−1 that <paramref name="key"/> names.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is not positive.</exception>
    public Feistel(ulong key, long count)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        var bits = 64 - BitOperations.LeadingZeroCount((ulong)count - 1);
        _key = key;
        _count = (ulong)count;
        _lowBits = bits - bits / 2;
        _lowMask = (1UL << _lowBits) - 1;
        _highMask = (1UL << (bits / 2)) - 1;
    }

    /// <summary>The place of <paramref name="index"/> (0 ≤ index &lt; n) in the permutation.</summary>
    public long this[long index]
    {
        get
        {
            if ((ulong)index >= _count)
                throw new ArgumentOutOfRangeException(nameof(index), index, $"The permutation holds 0 to {_count - 1}.");
            var x = (ulong)index;
            do
            {
                x = Once(x);
            }
            while (x >= _count);
            return (long)x;
        }
    }

    private ulong Once(ulong x)
    {
        var low = x & _lowMask;
        var high = x >> _lowBits;
        for (var round = 0UL; round < Rounds; round += 2)
        {
            high ^= KeyedRandom.Mix(_key + KeyedRandom.Stride * (round + 1) + low) & _highMask;
            low ^= KeyedRandom.Mix(_key + KeyedRandom.Stride * (round + 2) + high) & _lowMask;
        }

        return high << _lowBits | low;
    }
}

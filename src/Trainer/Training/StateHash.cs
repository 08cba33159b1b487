using System.Numerics;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// A 64-bit fingerprint of tensors, at memory speed: ranks compare it to prove that they hold the same state (invariant 1). Any changed
/// bit changes it; it is not meant against forgery.
/// </summary>
public static class StateHash
{
    private const ulong P1 = 0x9E3779B185EBCA87, P2 = 0xC2B2AE3D27D4EB4F;

    /// <summary>The fingerprint of the tensors' bytes, in order.</summary>
    public static ulong Of(IEnumerable<Tensor> tensors)
    {
        var hash = P1;
        foreach (var tensor in tensors)
        {
            using var host = tensor.detach().cpu().contiguous();
            hash = Mix(hash ^ Of(host.bytes));
        }

        return hash;
    }

    /// <summary>The fingerprint of bytes: four lanes of multiply and rotate, each step a bijection of its lane.</summary>
    public static ulong Of(ReadOnlySpan<byte> bytes)
    {
        ulong a = P1, b = P2, c = ~P1, d = ~P2;
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        var i = 0;
        for (; i + 4 <= words.Length; i += 4)
        {
            a = BitOperations.RotateLeft(a + (words[i] * P2), 31) * P1;
            b = BitOperations.RotateLeft(b + (words[i + 1] * P2), 31) * P1;
            c = BitOperations.RotateLeft(c + (words[i + 2] * P2), 31) * P1;
            d = BitOperations.RotateLeft(d + (words[i + 3] * P2), 31) * P1;
        }

        for (; i < words.Length; i++)
            a = BitOperations.RotateLeft(a + (words[i] * P2), 31) * P1;
        foreach (var rest in bytes[(words.Length * sizeof(ulong))..])
            b = BitOperations.RotateLeft(b + (rest * P2), 31) * P1;
        return Mix(a ^ Mix(b ^ Mix(c ^ Mix(d ^ (ulong)bytes.Length))));
    }

    private static ulong Mix(ulong x)
    {
        x = (x ^ (x >> 29)) * P2;
        x = (x ^ (x >> 32)) * P1;
        return x ^ (x >> 31);
    }
}

using System.Buffers;
using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace DarkMatter.Trainer.Collectives;

/// <summary>Vectorised sums over received bytes.</summary>
internal static class Reduction
{
    /// <summary>Bytes of an element of a sum of this kind; 1 where nothing is summed.</summary>
    public static int ElementBytes(FrameKind kind) => kind switch
    {
        FrameKind.SumOfFloats => sizeof(float),
        FrameKind.SumOfDoubles => sizeof(double),
        _ => 1,
    };

    /// <summary>target += source, element by element. The source's segments may cut an element in two.</summary>
    public static void Add(FrameKind kind, Span<byte> target, in ReadOnlySequence<byte> source)
    {
        if (kind == FrameKind.SumOfFloats)
        {
            Add<float>(target, source);
        }
        else
        {
            Add<double>(target, source);
        }
    }

    /// <summary>target += source.</summary>
    public static void Add(FrameKind kind, Span<byte> target, ReadOnlySpan<byte> source)
    {
        if (kind == FrameKind.SumOfFloats)
        {
            AddWhole<float>(target, source);
        }
        else
        {
            AddWhole<double>(target, source);
        }
    }

    private static void Add<T>(Span<byte> target, in ReadOnlySequence<byte> source)
        where T : unmanaged, IAdditionOperators<T, T, T>, IAdditiveIdentity<T, T>
    {
        Span<byte> cut = stackalloc byte[Unsafe.SizeOf<T>()];
        var held = 0;
        foreach (var segment in source)
        {
            var rest = segment.Span;
            if (held > 0)
            {
                var missing = Math.Min(cut.Length - held, rest.Length);
                rest[..missing].CopyTo(cut[held..]);
                held += missing;
                rest = rest[missing..];
                if (held < cut.Length)
                {
                    continue;
                }

                AddWhole<T>(target[..cut.Length], cut);
                held = 0;
                target = target[cut.Length..];
            }

            var whole = rest.Length - (rest.Length % cut.Length);
            AddWhole<T>(target[..whole], rest[..whole]);
            target = target[whole..];
            held = rest.Length - whole;
            rest[whole..].CopyTo(cut);
        }
    }

    private static void AddWhole<T>(Span<byte> target, ReadOnlySpan<byte> source)
        where T : unmanaged, IAdditionOperators<T, T, T>, IAdditiveIdentity<T, T>
    {
        var sum = MemoryMarshal.Cast<byte, T>(target);
        TensorPrimitives.Add(sum, MemoryMarshal.Cast<byte, T>(source), sum);
    }
}

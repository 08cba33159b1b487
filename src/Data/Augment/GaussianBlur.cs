using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace DarkMatter.Data;

/// <summary>
/// torchvision's gaussian_blur: exp(−x²/2σ²) sampled at the kernel's pixels and normalised, border mirrored without repeating the edge.
/// </summary>
internal sealed class GaussianBlur
{
    /// <summary>Taps at the kernel's ends are left out while they sum to less: at most 0.0003 of a level in a channel.</summary>
    private const double Negligible = 1e-6;

    private const int Lanes = 8; // floats of a Vector256

    private float[] _kernel = [];
    private int[] _taps = [];
    private float[] _row = [];
    private int _radius;

    /// <summary>Prepares the kernel.</summary>
    public void Prepare(float sigma, int kernelSize)
    {
        var half = kernelSize / 2;
        Span<double> side = half < 256 ? stackalloc double[half + 1] : new double[half + 1];
        var sum = 0.0;
        for (var x = 0; x <= half; x++)
        {
            side[x] = Math.Exp(-0.5 * x * x / ((double)sigma * sigma));
            sum += x == 0 ? side[x] : 2 * side[x];
        }

        var left = 0.0;
        for (_radius = half; _radius > 0 && left + 2 * side[_radius] / sum < Negligible; _radius--)
            left += 2 * side[_radius] / sum;
        if (_kernel.Length < kernelSize)
        {
            _kernel = new float[kernelSize];
            _taps = new int[kernelSize];
        }

        for (var x = -_radius; x <= _radius; x++)
            _kernel[x + _radius] = (float)(side[Math.Abs(x)] / sum);
    }

    /// <summary>Blurs a plane of size × size pixels; <paramref name="scratch"/> is as long as the plane.</summary>
    public void Apply(Span<float> plane, Span<float> scratch, int size)
    {
        if (_radius == 0)
            return;
        Horizontal(plane, scratch, size);
        Vertical(scratch, plane, size);
    }

    private void Horizontal(ReadOnlySpan<float> from, Span<float> to, int size)
    {
        if (_row.Length < size + 2 * _radius)
            _row = new float[size + 2 * _radius];
        var kernel = _kernel.AsSpan(0, 2 * _radius + 1);
        for (var k = 0; k < kernel.Length; k++)
            _taps[k] = k;
        for (var y = 0; y < size; y++)
        {
            var source = from.Slice(y * size, size);
            source.CopyTo(_row.AsSpan(_radius));
            for (var x = 1; x <= _radius; x++)
            {
                _row[_radius - x] = source[x];
                _row[_radius + size - 1 + x] = source[size - 1 - x];
            }

            Convolve(_row.AsSpan(0, size + 2 * _radius), _taps.AsSpan(0, kernel.Length), kernel, to.Slice(y * size, size));
        }
    }

    private void Vertical(ReadOnlySpan<float> from, Span<float> to, int size)
    {
        var kernel = _kernel.AsSpan(0, 2 * _radius + 1);
        for (var y = 0; y < size; y++)
        {
            for (var k = 0; k < kernel.Length; k++)
            {
                var at = Math.Abs(y + k - _radius);
                _taps[k] = (at >= size ? 2 * size - 2 - at : at) * size;
            }

            Convolve(from[..(size * size)], _taps.AsSpan(0, kernel.Length), kernel, to.Slice(y * size, size));
        }
    }

    // to[x] = Σ kernel[k] · from[taps[k] + x], always in the order of k: a pixel's value does not depend on the loop that makes it.
    private static void Convolve(ReadOnlySpan<float> from, ReadOnlySpan<int> taps, ReadOnlySpan<float> kernel, Span<float> to)
    {
        foreach (var tap in taps)
            _ = from.Slice(tap, to.Length); // the loops below read nothing else
        ref var source = ref MemoryMarshal.GetReference(from);
        ref var target = ref MemoryMarshal.GetReference(to);
        var x = 0;
        for (; x + 4 * Lanes <= to.Length; x += 4 * Lanes)
        {
            Vector256<float> a = default, b = default, c = default, d = default;
            for (var k = 0; k < kernel.Length; k++)
            {
                var weight = Vector256.Create(kernel[k]);
                ref var at = ref Unsafe.Add(ref source, taps[k] + x);
                a = Vector256.FusedMultiplyAdd(weight, Vector256.LoadUnsafe(ref at), a);
                b = Vector256.FusedMultiplyAdd(weight, Vector256.LoadUnsafe(ref at, Lanes), b);
                c = Vector256.FusedMultiplyAdd(weight, Vector256.LoadUnsafe(ref at, 2 * Lanes), c);
                d = Vector256.FusedMultiplyAdd(weight, Vector256.LoadUnsafe(ref at, 3 * Lanes), d);
            }

            a.StoreUnsafe(ref target, (nuint)x);
            b.StoreUnsafe(ref target, (nuint)x + Lanes);
            c.StoreUnsafe(ref target, (nuint)x + 2 * Lanes);
            d.StoreUnsafe(ref target, (nuint)x + 3 * Lanes);
        }

        for (; x + Lanes <= to.Length; x += Lanes)
        {
            var sum = Vector256<float>.Zero;
            for (var k = 0; k < kernel.Length; k++)
                sum = Vector256.FusedMultiplyAdd(Vector256.Create(kernel[k]), Vector256.LoadUnsafe(ref Unsafe.Add(ref source, taps[k] + x)), sum);
            sum.StoreUnsafe(ref target, (nuint)x);
        }

        for (; x < to.Length; x++)
        {
            var sum = 0f;
            for (var k = 0; k < kernel.Length; k++)
                sum = MathF.FusedMultiplyAdd(kernel[k], Unsafe.Add(ref source, taps[k] + x), sum);
            to[x] = sum;
        }
    }
}

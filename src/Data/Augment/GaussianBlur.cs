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

    private const int Lanes = 8;

    private float[] _kernel = [];
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
            _kernel = new float[kernelSize];
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
        if (_row.Length < size + 2 * _radius + Lanes)
            _row = new float[size + 2 * _radius + Lanes];
        var kernel = _kernel.AsSpan(0, 2 * _radius + 1);
        ref var row = ref MemoryMarshal.GetArrayDataReference(_row);
        for (var y = 0; y < size; y++)
        {
            var source = from.Slice(y * size, size);
            source.CopyTo(_row.AsSpan(_radius));
            for (var x = 1; x <= _radius; x++)
            {
                _row[_radius - x] = source[x];
                _row[_radius + size - 1 + x] = source[size - 1 - x];
            }

            var target = to.Slice(y * size, size);
            for (var x = 0; x < size; x += Lanes)
            {
                var sum = Vector256<float>.Zero;
                for (var k = 0; k < kernel.Length; k++)
                    sum = Vector256.FusedMultiplyAdd(Vector256.Create(kernel[k]), Vector256.LoadUnsafe(ref row, (nuint)(x + k)), sum);
                Store(sum, target, x);
            }
        }
    }

    private void Vertical(ReadOnlySpan<float> from, Span<float> to, int size)
    {
        var kernel = _kernel.AsSpan(0, 2 * _radius + 1);
        Span<int> rows = kernel.Length <= 512 ? stackalloc int[kernel.Length] : new int[kernel.Length];
        for (var y = 0; y < size; y++)
        {
            for (var k = 0; k < rows.Length; k++)
            {
                var at = Math.Abs(y + k - _radius);
                rows[k] = (at >= size ? 2 * size - 2 - at : at) * size;
            }

            var target = to.Slice(y * size, size);
            var x = 0;
            for (; x + Lanes <= size; x += Lanes)
            {
                var sum = Vector256<float>.Zero;
                for (var k = 0; k < kernel.Length; k++)
                    sum = Vector256.FusedMultiplyAdd(Vector256.Create(kernel[k]), Vector256.Create(from.Slice(rows[k] + x, Lanes)), sum);
                sum.CopyTo(target[x..]);
            }

            for (; x < size; x++)
            {
                var sum = 0f;
                for (var k = 0; k < kernel.Length; k++)
                    sum = MathF.FusedMultiplyAdd(kernel[k], from[rows[k] + x], sum);
                target[x] = sum;
            }
        }
    }

    private static void Store(Vector256<float> vector, Span<float> row, int x)
    {
        if (x + Lanes <= row.Length)
        {
            vector.CopyTo(row[x..]);
            return;
        }

        for (var i = 0; x + i < row.Length; i++)
            row[x + i] = vector[i];
    }
}

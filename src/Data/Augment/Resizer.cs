using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DarkMatter.Data;

/// <summary>
/// Resizes a crop of bytes into planes of floats (0 to 255), rows first: the vertical pass runs over whole rows of bytes, whatever their
/// channels, and leaves only the output's rows for the horizontal one. Nothing is rounded in between.
/// </summary>
/// <remarks>
/// Floats, because the colour operations that follow need them and 8 of them fit the registers that every x86-64-v3 and Arm64 machine
/// has; fused multiply-add rounds once, so all machines give the same bytes.
/// </remarks>
internal sealed class Resizer
{
    private readonly ResampleWeights _rows = new();
    private readonly ResampleWeights _columns = new();
    private float[] _row = [];

    /// <summary>Makes size × size planes, one per channel, each <paramref name="planeStride"/> floats after the one before.</summary>
    public void Resize(DecodedImage image, PixelRegion crop, int size, bool flip, Span<float> planes, int planeStride)
    {
        var region = image.Region;
        var scale = 1.0 / image.Denominator;
        _columns.Prepare(crop.X * scale - region.X, crop.Width * scale, region.Width, size);
        _rows.Prepare(crop.Y * scale - region.Y, crop.Height * scale, region.Height, size);

        var channels = image.Channels;
        var stride = region.Width * channels;
        var left = _columns.First(0);
        var right = _columns.First(size - 1) + _columns.Weights(size - 1).Length;
        var count = (right - left) * channels;
        if (_row.Length < count + Vector256<float>.Count)
            _row = new float[count + Vector256<float>.Count];

        for (var y = 0; y < size; y++)
        {
            var firstByte = _rows.First(y) * stride + left * channels;
            VerticalPass(image.Pixels[firstByte..], stride, _rows.Weights(y), _row, count);
            if (channels == 1)
                HorizontalGray(_row, left, planes.Slice(y * size, size), flip);
            else
                HorizontalColor(_row, left, planes, y * size, size, planeStride, flip);
        }
    }

    // out[x] = Σ weight[k] · bytes[k·stride + x]
    private static void VerticalPass(ReadOnlySpan<byte> bytes, int stride, ReadOnlySpan<float> weights, Span<float> output, int count)
    {
        // The last read, checked once for all below.
        _ = bytes[(weights.Length - 1) * stride + count - 1];
        _ = output[count - 1];
        ref var from = ref MemoryMarshal.GetReference(bytes);
        ref var to = ref MemoryMarshal.GetReference(output);
        if (count < Vector256<float>.Count)
        {
            for (var x = 0; x < count; x++)
            {
                var sum = 0f;
                for (var k = 0; k < weights.Length; k++)
                    sum = MathF.FusedMultiplyAdd(weights[k], Unsafe.Add(ref from, k * stride + x), sum);
                Unsafe.Add(ref to, x) = sum;
            }

            return;
        }

        for (var x = 0; ; x += Vector256<float>.Count)
        {
            x = Math.Min(x, count - Vector256<float>.Count); // the last vector overlaps the one before
            var sum = Vector256<float>.Zero;
            for (var k = 0; k < weights.Length; k++)
                sum = Vector256.FusedMultiplyAdd(Vector256.Create(weights[k]), Load(ref Unsafe.Add(ref from, k * stride + x)), sum);
            sum.StoreUnsafe(ref Unsafe.Add(ref to, x));
            if (x == count - Vector256<float>.Count)
                return;
        }
    }

    // Eight bytes as floats.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Load(ref byte bytes)
    {
        var packed = Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<ulong>(ref bytes)).AsByte();
        return Vector256.ConvertToSingle(Avx2.IsSupported
            ? Avx2.ConvertToVector256Int32(packed)
            : Vector256.WidenLower(Vector128.WidenLower(packed).ToVector256Unsafe()).AsInt32());
    }

    private void HorizontalGray(ReadOnlySpan<float> row, int left, Span<float> output, bool flip)
    {
        ref var source = ref MemoryMarshal.GetReference(row);
        ref var table = ref MemoryMarshal.GetReference(_columns.Table);
        var firsts = _columns.Firsts[..output.Length];
        var taps = _columns.Taps[..output.Length];
        for (var x = 0; x < output.Length; x++)
        {
            // Prepare keeps every tap between left and right, and the row is that long.
            ref var from = ref Unsafe.Add(ref source, firsts[x] - left);
            ref var weights = ref Unsafe.Add(ref table, x * _columns.Stride);
            var sum = 0f;
            for (var k = 0; k < taps[x]; k++)
                sum = MathF.FusedMultiplyAdd(Unsafe.Add(ref weights, k), Unsafe.Add(ref from, k), sum);
            output[flip ? output.Length - 1 - x : x] = sum;
        }
    }

    private void HorizontalColor(ReadOnlySpan<float> row, int left, Span<float> planes, int start, int size, int planeStride, bool flip)
    {
        _ = planes.Slice(2 * planeStride + start, size);
        ref var red = ref planes[start];
        ref var green = ref planes[planeStride + start];
        ref var blue = ref planes[2 * planeStride + start];
        ref var source = ref MemoryMarshal.GetReference(row);
        ref var table = ref MemoryMarshal.GetReference(_columns.Table);
        var firsts = _columns.Firsts[..size];
        var taps = _columns.Taps[..size];
        for (var x = 0; x < size; x++)
        {
            // As above; four floats are read for three channels, and the row has room for the one too many.
            ref var from = ref Unsafe.Add(ref source, (firsts[x] - left) * 3);
            ref var weights = ref Unsafe.Add(ref table, x * _columns.Stride);
            var sum = Vector128<float>.Zero;
            for (var k = 0; k < taps[x]; k++)
                sum = Vector128.FusedMultiplyAdd(Vector128.Create(Unsafe.Add(ref weights, k)), Vector128.LoadUnsafe(ref Unsafe.Add(ref from, 3 * k)), sum);
            var at = flip ? size - 1 - x : x;
            Unsafe.Add(ref red, at) = sum[0];
            Unsafe.Add(ref green, at) = sum[1];
            Unsafe.Add(ref blue, at) = sum[2];
        }
    }
}

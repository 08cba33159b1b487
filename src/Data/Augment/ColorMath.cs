using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace DarkMatter.Data;

/// <summary>
/// Colour operations on planes of floats, 0 to 255, as torchvision's functional_tensor defines them for float images (there 0 to 1).
/// Planes are whole vectors long; what stands behind the last pixel is computed too and never looked at.
/// One plane is a gray image: its result equals each channel of the same image as RGB, bit for bit.
/// </summary>
internal static class ColorMath
{
    private const int Lanes = 8;
    private const float Red = 0.2989f, Green = 0.587f, Blue = 0.114f;

    /// <summary>A plane's length for so many pixels.</summary>
    public static int PlaneLength(int pixels) => (pixels + Lanes - 1) / Lanes * Lanes;

    /// <summary>v ← clamp(v · factor).</summary>
    public static void Brightness(Span<float> plane, float factor)
    {
        foreach (ref var v in Vectors(plane))
            v = Clamp(v * factor);
    }

    /// <summary>v ← clamp(v · factor + mean · (1 − factor)), with the mean of the image's gray.</summary>
    public static void Contrast(Planes planes, int pixels, float factor)
    {
        var offset = Vector256.Create(MeanGray(planes, pixels) * (1 - factor));
        for (var channel = 0; channel < planes.Count; channel++)
        {
            foreach (ref var v in Vectors(planes[channel]))
                v = Clamp(Vector256.FusedMultiplyAdd(v, Vector256.Create(factor), offset));
        }
    }

    /// <summary>v ← clamp(v · factor + gray · (1 − factor)).</summary>
    public static void Saturation(Planes planes, float factor)
    {
        Span<Vector256<float>> red = Vectors(planes[0]), green = Vectors(planes.Green), blue = Vectors(planes.Blue);
        var scale = Vector256.Create(factor);
        for (var i = 0; i < red.Length; i++)
        {
            var gray = Gray(red[i], green[i], blue[i]) * (1 - factor);
            red[i] = Clamp(Vector256.FusedMultiplyAdd(red[i], scale, gray));
            if (planes.Count == 1)
                continue;
            green[i] = Clamp(Vector256.FusedMultiplyAdd(green[i], scale, gray));
            blue[i] = Clamp(Vector256.FusedMultiplyAdd(blue[i], scale, gray));
        }
    }

    /// <summary>Turns the hue by so many turns. A gray image has none.</summary>
    public static void Hue(Planes planes, float turns)
    {
        if (planes.Count == 1)
            return;
        Span<Vector256<float>> red = Vectors(planes[0]), green = Vectors(planes[1]), blue = Vectors(planes[2]);
        var shift = Vector256.Create(turns * 6 + 12); // in sixths of a turn; 12 keeps the sum positive
        for (var i = 0; i < red.Length; i++)
        {
            Vector256<float> r = red[i], g = green[i], b = blue[i];
            var most = Vector256.Max(Vector256.Max(r, g), b);
            var chroma = most - Vector256.Min(Vector256.Min(r, g), b);
            var perChroma = Vector256<float>.One / Vector256.ConditionalSelect(
                Vector256.Equals(chroma, Vector256<float>.Zero), Vector256<float>.One, chroma);

            // The hue in sixths: 0 red, 2 green, 4 blue; the largest channel says which third.
            var sixths = Vector256.ConditionalSelect(
                Vector256.Equals(most, r),
                (g - b) * perChroma,
                Vector256.ConditionalSelect(
                    Vector256.Equals(most, g),
                    Vector256.Create(2f) + (b - r) * perChroma,
                    Vector256.Create(4f) + (r - g) * perChroma)) + shift;
            red[i] = FromHue(sixths, 5, most, chroma);
            green[i] = FromHue(sixths, 3, most, chroma);
            blue[i] = FromHue(sixths, 1, most, chroma);
        }
    }

    /// <summary>The image's gray into its first plane.</summary>
    public static void Grayscale(Planes planes)
    {
        Span<Vector256<float>> red = Vectors(planes[0]), green = Vectors(planes.Green), blue = Vectors(planes.Blue);
        for (var i = 0; i < red.Length; i++)
            red[i] = Gray(red[i], green[i], blue[i]);
    }

    /// <summary>v ← v &lt; threshold ? v : 255 − v.</summary>
    public static void Solarize(Span<float> plane, float threshold)
    {
        foreach (ref var v in Vectors(plane))
        {
            v = Vector256.ConditionalSelect(
                Vector256.GreaterThanOrEqual(v, Vector256.Create(threshold)), Vector256.Create(255f) - v, v);
        }
    }

    private static float MeanGray(Planes planes, int pixels)
    {
        ReadOnlySpan<float> red = planes[0], green = planes.Green, blue = planes.Blue;
        var sums = Vector256<double>.Zero;
        var i = 0;
        for (; i + Lanes <= pixels; i += Lanes)
        {
            var gray = Gray(Vector256.Create(red[i..]), Vector256.Create(green[i..]), Vector256.Create(blue[i..]));
            var (low, high) = Vector256.Widen(gray);
            sums += low + high;
        }

        var sum = Vector256.Sum(sums);
        for (; i < pixels; i++)
            sum += MathF.FusedMultiplyAdd(blue[i], Blue, MathF.FusedMultiplyAdd(green[i], Green, red[i] * Red));
        return (float)(sum / pixels);
    }

    // HSV to one channel, n = 5, 3, 1: V − C·clamp(min(k, 4 − k), 0, 1), k = (n + hue) mod 6; the same function as the usual six cases.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> FromHue(Vector256<float> sixths, float n, Vector256<float> most, Vector256<float> chroma)
    {
        var k = sixths + Vector256.Create(n);
        k -= Vector256.Floor(k * (1f / 6)) * 6f;
        var share = Vector256.Max(Vector256.Min(Vector256.Min(k, Vector256.Create(4f) - k), Vector256<float>.One), Vector256<float>.Zero);
        return most - chroma * share;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Gray(Vector256<float> r, Vector256<float> g, Vector256<float> b) =>
        Vector256.FusedMultiplyAdd(b, Vector256.Create(Blue), Vector256.FusedMultiplyAdd(g, Vector256.Create(Green), r * Red));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Clamp(Vector256<float> v) => Vector256.Min(Vector256.Max(v, Vector256<float>.Zero), Vector256.Create(255f));

    private static Span<Vector256<float>> Vectors(Span<float> plane) => MemoryMarshal.Cast<float, Vector256<float>>(plane);
}

/// <summary>The planes of a view: one for gray, three for RGB.</summary>
internal readonly ref struct Planes(Span<float> all, int stride, int count)
{
    private readonly Span<float> _all = all;

    public int Count { get; } = count;

    /// <summary>The first plane alone.</summary>
    public Planes First => new(_all, stride, 1);

    public Span<float> Green => this[Count == 1 ? 0 : 1];

    public Span<float> Blue => this[Count == 1 ? 0 : 2];

    public Span<float> this[int channel] => _all.Slice(channel * stride, stride);
}

using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace DarkMatter.Data;

/// <summary>Rounds planes of floats to bytes and interleaves them: [H, W, 3].</summary>
internal static class PixelPacker
{
    private const int Lanes = 8;

    /// <summary>Packs so many pixels; one plane becomes three equal channels.</summary>
    public static void Pack(Planes planes, int pixels, Span<byte> output)
    {
        ReadOnlySpan<float> red = planes[0], green = planes.Green, blue = planes.Blue;
        _ = output[pixels * 3 - 1];
        ref var to = ref MemoryMarshal.GetReference(output);
        var i = 0;
        for (; i + Lanes <= pixels; i += Lanes)
        {
            var r = Bytes(red[i..]);
            var g = planes.Count == 1 ? r : Bytes(green[i..]);
            var b = planes.Count == 1 ? r : Bytes(blue[i..]);
            // Eight pixels: r0 g0 b0 r1 … from (r0..r7 g0..g7) and b0..b7; an index of 16 or more gives 0.
            var rg = Vector128.Create(r.AsUInt64().ToScalar(), g.AsUInt64().ToScalar()).AsByte();
            var low = Vector128.Shuffle(rg, Vector128.Create((byte)0, 8, 16, 1, 9, 16, 2, 10, 16, 3, 11, 16, 4, 12, 16, 5))
                | Vector128.Shuffle(b, Vector128.Create((byte)16, 16, 0, 16, 16, 1, 16, 16, 2, 16, 16, 3, 16, 16, 4, 16));
            var high = Vector128.Shuffle(rg, Vector128.Create((byte)13, 16, 6, 14, 16, 7, 15, 16, 16, 16, 16, 16, 16, 16, 16, 16))
                | Vector128.Shuffle(b, Vector128.Create((byte)16, 5, 16, 16, 6, 16, 16, 7, 16, 16, 16, 16, 16, 16, 16, 16));
            low.StoreUnsafe(ref to, (nuint)i * 3);
            high.GetLower().StoreUnsafe(ref to, (nuint)i * 3 + 16);
        }

        for (; i < pixels; i++)
        {
            output[i * 3] = ToByte(red[i]);
            output[i * 3 + 1] = ToByte(green[i]);
            output[i * 3 + 2] = ToByte(blue[i]);
        }
    }

    // Eight floats of 0..255 to bytes in the lower half.
    private static Vector128<byte> Bytes(ReadOnlySpan<float> plane)
    {
        var rounded = Vector256.ConvertToInt32Native(Clamp(Vector256.Create(plane)) + Vector256.Create(0.5f));
        var shorts = Vector128.Narrow(rounded.GetLower(), rounded.GetUpper());
        return Vector128.Narrow(shorts, shorts).AsByte();
    }

    private static Vector256<float> Clamp(Vector256<float> v) => Vector256.Min(Vector256.Max(v, Vector256<float>.Zero), Vector256.Create(255f));

    private static byte ToByte(float v) => (byte)(Math.Clamp(v, 0, 255) + 0.5f);
}

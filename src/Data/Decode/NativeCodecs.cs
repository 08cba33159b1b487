using System.Runtime.InteropServices;

namespace DarkMatter.Data;

/// <summary>The functions of native/codecs/codecs.h.</summary>
internal static unsafe partial class NativeCodecs
{
    public const string Library = "libdarkmatter_codecs.so";
    public const int Version = 1;

    public const int Ok = 0;
    public const int Misuse = 5;

    [StructLayout(LayoutKind.Sequential)]
    public struct Info
    {
        public int Format;
        public int Width;
        public int Height;
        public int Channels;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Pixels
    {
        public byte* Data;
        public long Stride;
        public PixelRegion Region;
        public int Channels;
    }

    [LibraryImport(Library)]
    public static partial int dm_version();

    [LibraryImport(Library)]
    public static partial nint dm_codec_new();

    [LibraryImport(Library)]
    public static partial void dm_codec_free(nint codec);

    [LibraryImport(Library)]
    public static partial nint dm_codec_error(nint codec);

    [LibraryImport(Library)]
    public static partial int dm_probe(nint codec, byte* data, nuint size, Info* info);

    [LibraryImport(Library)]
    public static partial int dm_decode(nint codec, byte* data, nuint size, PixelRegion* want, int denominator, Pixels* pixels);

    [LibraryImport(Library)]
    public static partial int dm_png_encode(nint codec, byte* pixels, int width, int height, int channels, byte** png, nuint* size);
}

using System.Runtime.InteropServices;

namespace DarkMatter.Data;

/// <summary>The file format of an image.</summary>
public enum ImageFormat
{
    /// <summary>Not one of those below.</summary>
    Unknown = 0,

    /// <summary>JPEG.</summary>
    Jpeg = 1,

    /// <summary>PNG.</summary>
    Png = 2,

    /// <summary>WebP, lossy or lossless.</summary>
    WebP = 3,
}

/// <summary>What an image's header says.</summary>
/// <param name="Format">The file format.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Channels">1 for a gray image, else 3.</param>
public readonly record struct ImageInfo(ImageFormat Format, int Width, int Height, int Channels);

/// <summary>A rectangle of pixels.</summary>
public readonly record struct PixelRegion(int X, int Y, int Width, int Height)
{
    /// <summary>The smallest rectangle that holds both.</summary>
    public PixelRegion Union(PixelRegion other)
    {
        int left = Math.Min(X, other.X), top = Math.Min(Y, other.Y);
        int right = Math.Max(X + Width, other.X + other.Width), bottom = Math.Max(Y + Height, other.Y + other.Height);
        return new PixelRegion(left, top, right - left, bottom - top);
    }
}

/// <summary>Pixels of an image, or of a part of it.</summary>
public readonly ref struct DecodedImage
{
    internal DecodedImage(ReadOnlySpan<byte> pixels, PixelRegion region, int channels, int denominator)
    {
        Pixels = pixels;
        Region = region;
        Channels = channels;
        Denominator = denominator;
    }

    /// <summary>uint8 [Region.Height, Region.Width, Channels]; valid until the codec's next call.</summary>
    public ReadOnlySpan<byte> Pixels { get; }

    /// <summary>The part that was decoded, in pixels of the image scaled by 1/<see cref="Denominator"/>. It holds at least what was asked for.</summary>
    public PixelRegion Region { get; }

    /// <summary>1 (gray) or 3 (RGB).</summary>
    public int Channels { get; }

    /// <summary>The image was decoded at 1/Denominator of its size.</summary>
    public int Denominator { get; }
}

/// <summary>An image cannot be decoded; the message is the reason, without the image's name.</summary>
public sealed class BrokenImageException(string reason) : Exception(reason);

/// <summary>
/// Decodes JPEG, PNG and WebP into RGB or gray bytes. Palettes are resolved, alpha is dropped, 16-bit samples keep their high byte, and
/// EXIF orientation is not applied: what torchvision's default loader does. One thread at a time.
/// </summary>
public sealed unsafe class ImageCodec : IDisposable
{
    private nint _codec;

    /// <summary>Makes a codec; its buffers grow with the images and are reused.</summary>
    /// <exception cref="DatasetException">The native library or one of its codecs is not installed.</exception>
    public ImageCodec()
    {
        try
        {
            if (NativeCodecs.dm_version() != NativeCodecs.Version)
            {
                throw new DatasetException(
                    $"the image codecs have version {NativeCodecs.dm_version()}, expected {NativeCodecs.Version}", NativeCodecs.Library,
                    "Build the solution again.");
            }

            _codec = NativeCodecs.dm_codec_new();
        }
        catch (DllNotFoundException missing)
        {
            // The loader's message lists every place it looked; the line that names another library is the cause.
            var cause = missing.Message.Split('\n').FirstOrDefault(line =>
                line.Contains("cannot open shared object file", StringComparison.Ordinal) && !line.Contains(NativeCodecs.Library, StringComparison.Ordinal));
            throw new DatasetException(
                $"the image codecs cannot be loaded ({cause?.Trim() ?? "the file is not beside the program"})", NativeCodecs.Library,
                "Install their libraries (apt-get install libjpeg62-turbo libspng0 libwebp7) and build the solution again.", missing);
        }

        if (_codec == 0)
            throw new InsufficientMemoryException("There is no memory for an image codec.");
    }

    /// <summary>Frees what a codec that was not disposed holds.</summary>
    ~ImageCodec() => Free();

    /// <summary>Reads an image's header.</summary>
    /// <exception cref="BrokenImageException">It is no image of a known format, damaged, or larger than 256 million pixels.</exception>
    public ImageInfo Probe(ReadOnlySpan<byte> file)
    {
        NativeCodecs.Info info;
        fixed (byte* data = file)
            Check(NativeCodecs.dm_probe(Handle, data, (nuint)file.Length, &info));
        return new ImageInfo((ImageFormat)info.Format, info.Width, info.Height, info.Channels);
    }

    /// <summary>Decodes a whole image.</summary>
    /// <exception cref="BrokenImageException">The image is damaged.</exception>
    public DecodedImage Decode(ReadOnlySpan<byte> file) => Decode(file, null, 1);

    /// <summary>
    /// Decodes the part of an image that is needed. JPEG decodes only the blocks around <paramref name="region"/> and can shrink by
    /// 2, 4 or 8 on the way; PNG and WebP stop after its last row. The region's pixels equal those of a full decode.
    /// </summary>
    /// <param name="file">The image file.</param>
    /// <param name="region">The part, in full-size pixels.</param>
    /// <param name="denominator">1, or for JPEG 2, 4 or 8.</param>
    /// <exception cref="BrokenImageException">The image is damaged.</exception>
    public DecodedImage Decode(ReadOnlySpan<byte> file, PixelRegion region, int denominator) => Decode(file, &region, denominator);

    /// <summary>Encodes a PNG.</summary>
    /// <param name="pixels">uint8 [<paramref name="height"/>, <paramref name="width"/>, <paramref name="channels"/>].</param>
    /// <param name="width">Pixels.</param>
    /// <param name="height">Pixels.</param>
    /// <param name="channels">1 (gray) or 3 (RGB).</param>
    /// <returns>The file; valid until the codec's next call.</returns>
    public ReadOnlySpan<byte> EncodePng(ReadOnlySpan<byte> pixels, int width, int height, int channels)
    {
        if (pixels.Length != (long)width * height * channels)
            throw new ArgumentException($"{pixels.Length} bytes are not [{height}, {width}, {channels}].", nameof(pixels));
        byte* png;
        nuint size;
        fixed (byte* data = pixels)
            Check(NativeCodecs.dm_png_encode(Handle, data, width, height, channels, &png, &size));
        return new ReadOnlySpan<byte>(png, checked((int)size));
    }

    /// <summary>Frees the buffers.</summary>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private nint Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(_codec == 0, this);
            return _codec;
        }
    }

    private DecodedImage Decode(ReadOnlySpan<byte> file, PixelRegion* region, int denominator)
    {
        NativeCodecs.Pixels pixels;
        fixed (byte* data = file)
            Check(NativeCodecs.dm_decode(Handle, data, (nuint)file.Length, region, denominator, &pixels));
        var bytes = new ReadOnlySpan<byte>(pixels.Data, checked((int)(pixels.Stride * pixels.Region.Height)));
        return new DecodedImage(bytes, pixels.Region, pixels.Channels, denominator);
    }

    private void Check(int status)
    {
        switch (status)
        {
            case NativeCodecs.Ok:
                return;
            case NativeCodecs.Misuse:
                throw new ArgumentException(Message());
            default:
                throw new BrokenImageException(Message());
        }
    }

    private string Message() => Marshal.PtrToStringUTF8(NativeCodecs.dm_codec_error(_codec)) ?? "";

    private void Free()
    {
        var codec = Interlocked.Exchange(ref _codec, 0);
        if (codec != 0)
            NativeCodecs.dm_codec_free(codec);
    }
}

namespace DarkMatter.Data.Tests.Decode;

/// <summary>Every kind of image file against Pillow's pixels (Reference/make_reference.py).</summary>
public class ImageCodecTests
{
    private const int Width = 83, Height = 61;

    public static TheoryData<string> Images => [.. Directory.GetFiles(Files.Reference("images"), "*.rgb").Select(file => Path.GetFileNameWithoutExtension(file)).Order()];

    [Theory]
    [MemberData(nameof(Images))]
    public void Decode_Whole_EqualsPillow(string name)
    {
        using var codec = new ImageCodec();
        var file = Files.Image(name);
        var info = codec.Probe(file);
        var image = codec.Decode(file);
        info.ShouldBe(new ImageInfo(FormatOf(name), Width, Height, name.Contains("gray") || name.StartsWith("one-bit") ? 1 : 3));
        image.Region.ShouldBe(new PixelRegion(0, 0, Width, Height));
        image.Channels.ShouldBe(info.Channels);
        Rgb(image).ShouldBe(Files.Image(name + ".rgb"));
    }

    [Theory]
    [MemberData(nameof(Images))]
    public void Decode_Region_HasThePixelsOfTheWhole(string name)
    {
        using var codec = new ImageCodec();
        var file = Files.Image(name);
        var whole = Files.Image(name + ".rgb");
        var random = new Random(5);
        for (var trial = 0; trial < 200; trial++)
        {
            int x = random.Next(Width), y = random.Next(Height);
            var wanted = new PixelRegion(x, y, random.Next(1, Width - x + 1), random.Next(1, Height - y + 1));
            var part = codec.Decode(file, wanted, 1);
            part.Region.Union(wanted).ShouldBe(part.Region);
            var pixels = Rgb(part);
            for (var row = wanted.Y; row < wanted.Y + wanted.Height; row++)
            {
                var actual = pixels.AsSpan(((row - part.Region.Y) * part.Region.Width + wanted.X - part.Region.X) * 3, wanted.Width * 3);
                actual.SequenceEqual(whole.AsSpan((row * Width + wanted.X) * 3, wanted.Width * 3)).ShouldBeTrue($"{wanted}, row {row}");
            }
        }
    }

    [Theory]
    [InlineData("baseline-444.jpg", 2)]
    [InlineData("baseline-420.jpg", 2)]
    [InlineData("baseline-420.jpg", 4)]
    [InlineData("gray.jpg", 8)]
    [InlineData("cmyk.jpg", 2)]
    public void Decode_Scaled_IsCloseToTheMeanOfItsPixels(string name, int denominator)
    {
        using var codec = new ImageCodec();
        var file = Files.Image(name);
        var whole = Files.Image(name + ".rgb");
        var image = codec.Decode(file, new PixelRegion(0, 0, Width, Height), denominator);
        image.Denominator.ShouldBe(denominator);
        image.Region.ShouldBe(new PixelRegion(0, 0, (Width + denominator - 1) / denominator, (Height + denominator - 1) / denominator));
        var pixels = Rgb(image);
        var stride = image.Region.Width * 3;

        // The scaled inverse DCT drops frequencies where the mean averages them: near, and nearer than any neighbour.
        var error = MeanError(0, 0);
        error.ShouldBeLessThan(0.5 * new[] { MeanError(1, 0), MeanError(-1, 0), MeanError(0, 1), MeanError(0, -1) }.Min());

        double MeanError(int shiftX, int shiftY)
        {
            var sum = 0.0;
            var count = 0;
            for (var y = 1; y < Height / denominator - 1; y++)
            {
                for (var x = 1; x < Width / denominator - 1; x++)
                {
                    for (var c = 0; c < 3; c++, count++)
                        sum += Math.Abs(pixels[y * stride + x * 3 + c] - BlockMean(x + shiftX, y + shiftY, c));
                }
            }

            return sum / count;
        }

        double BlockMean(int x, int y, int channel)
        {
            var sum = 0;
            for (var i = 0; i < denominator * denominator; i++)
                sum += whole[((y * denominator + i / denominator) * Width + x * denominator + i % denominator) * 3 + channel];
            return (double)sum / denominator / denominator;
        }
    }

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(28, 28, 1)]
    [InlineData(37, 5, 3)]
    public void EncodePng_Decoded_IsTheSame(int width, int height, int channels)
    {
        using var codec = new ImageCodec();
        var pixels = new byte[width * height * channels];
        new Random(1).NextBytes(pixels);
        var png = codec.EncodePng(pixels, width, height, channels).ToArray();
        codec.Probe(png).ShouldBe(new ImageInfo(ImageFormat.Png, width, height, channels));
        codec.Decode(png).Pixels.ToArray().ShouldBe(pixels);
    }

    [Fact]
    public void Decode_RandomDamage_NeverCrashes()
    {
        using var codec = new ImageCodec();
        var random = new Random(17);
        foreach (var name in Images.Select(row => row.Data))
        {
            var sound = Files.Image(name);
            for (var trial = 0; trial < 150; trial++)
            {
                var file = sound.AsSpan(0, trial % 3 == 0 ? random.Next(sound.Length) : sound.Length).ToArray();
                for (var i = random.Next(1, 8); i > 0 && file.Length > 0; i--)
                    file[random.Next(file.Length)] = (byte)random.Next(256);
                try
                {
                    var image = codec.Decode(file);
                    image.Pixels.Length.ShouldBe(image.Region.Width * image.Region.Height * image.Channels);
                }
                catch (BrokenImageException broken)
                {
                    broken.Message.ShouldNotBeEmpty();
                }
            }
        }
    }

    [Fact]
    public void Decode_RegionOutside_IsTheCallersMistake()
    {
        using var codec = new ImageCodec();
        foreach (var name in new[] { "baseline-420.jpg", "rgb.png", "lossy.webp" })
        {
            var file = Files.Image(name);
            Should.Throw<ArgumentException>(() => codec.Decode(file, new PixelRegion(Width, 0, 1, 1), 1)).Message.ShouldBe("the region lies outside the image");
            Should.Throw<ArgumentException>(() => codec.Decode(file, new PixelRegion(0, 0, 0, 1), 1)).Message.ShouldContain("has no pixels");
        }

        Should.Throw<ArgumentException>(() => codec.Decode(Files.Image("rgb.png"), new PixelRegion(0, 0, 9, 9), 2)).Message.ShouldContain("only a JPEG");
    }

    [Fact]
    public void Codec_Disposed_Says()
    {
        var codec = new ImageCodec();
        codec.Dispose();
        codec.Dispose();
        Should.Throw<ObjectDisposedException>(() => codec.Probe([]));
    }

    private static ImageFormat FormatOf(string name) => Path.GetExtension(name) switch
    {
        ".jpg" => ImageFormat.Jpeg,
        ".png" => ImageFormat.Png,
        _ => ImageFormat.WebP,
    };

    private static byte[] Rgb(DecodedImage image) =>
        image.Channels == 3 ? image.Pixels.ToArray() : [.. image.Pixels.ToArray().SelectMany(gray => new[] { gray, gray, gray })];
}

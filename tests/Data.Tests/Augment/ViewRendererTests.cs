using System.Runtime.InteropServices;
using System.Text.Json;

namespace DarkMatter.Data.Tests.Augment;

/// <summary>Views with fixed parameters against torchvision 0.14 on float tensors (Reference/make_reference.py), and against slow twins.</summary>
public class ViewRendererTests
{
    private const int Width = 83, Height = 61;

    /// <summary>
    /// Ours is rounded to whole levels: 0.5. Both compute in float32 and in another order: 0.02 of a level. A hue on a nearly gray pixel
    /// divides by a chroma of a fraction of a level, which enlarges those differences, but multiplies by the same chroma again.
    /// </summary>
    private const double Tolerance = 0.5 + 0.02;

    private static readonly JsonElement Cases = JsonDocument.Parse(File.ReadAllText(Files.Reference("views.json"))).RootElement;

    public static TheoryData<string> Names => [.. Cases.EnumerateArray().Select(one => one.GetProperty("name").GetString()!)];

    [Theory]
    [MemberData(nameof(Names))]
    public void View_FixedParameters_EqualsTorchvision(string name)
    {
        var expected = MemoryMarshal.Cast<byte, ushort>(File.ReadAllBytes(Files.Reference("views.bin")));
        foreach (var one in Cases.EnumerateArray())
        {
            var (parameters, recipe) = Parse(one);
            var values = recipe.Size * recipe.Size * 3;
            if (one.GetProperty("name").GetString() != name)
            {
                expected = expected[values..];
                continue;
            }

            var actual = new byte[values];
            new ViewRenderer().Render(Source(one.GetProperty("source").GetString()!), parameters, recipe, actual);
            for (var i = 0; i < values; i++)
                ((double)actual[i]).ShouldBe(expected[i] / 256.0, Tolerance, $"value {i}");
            return;
        }

        Assert.Fail($"no case {name}");
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void View_GrayImage_EqualsTheSameImageAsRgb(string name)
    {
        var one = Cases.EnumerateArray().Single(one => one.GetProperty("name").GetString() == name);
        var (parameters, recipe) = Parse(one);
        var rgb = Source("rgb").Pixels;
        var gray = new byte[Width * Height];
        for (var i = 0; i < gray.Length; i++)
            gray[i] = rgb[i * 3 + 1];
        byte[] tripled = [.. gray.SelectMany(value => new[] { value, value, value })];
        var whole = new PixelRegion(0, 0, Width, Height);

        byte[] fromGray = new byte[recipe.Size * recipe.Size * 3], fromRgb = new byte[fromGray.Length];
        new ViewRenderer().Render(new DecodedImage(gray, whole, 1, 1), parameters, recipe, fromGray);
        new ViewRenderer().Render(new DecodedImage(tripled, whole, 3, 1), parameters, recipe, fromRgb);
        fromGray.ShouldBe(fromRgb);
    }

    [Fact]
    public void Resize_RandomCrops_EqualsTheSlowTwin()
    {
        var random = new Random(4);
        for (var trial = 0; trial < 300; trial++)
        {
            int x = random.Next(Width), y = random.Next(Height), size = random.Next(1, 60);
            var crop = new PixelRegion(x, y, random.Next(1, Width - x + 1), random.Next(1, Height - y + 1));
            var view = new byte[size * size * 3];
            new ViewRenderer().Render(Source("rgb"), ViewParameters.Plain(crop), new ViewRecipe { Size = size }, view);
            var twin = SlowResize(Source("rgb").Pixels, crop, size);
            for (var i = 0; i < view.Length; i++)
                ((double)view[i]).ShouldBe(twin[i], 0.5 + 1e-3, $"{crop} to {size}, value {i}");
        }
    }

    [Fact]
    public void Render_PartOfTheImage_EqualsTheWhole()
    {
        var random = new Random(6);
        var whole = Source("rgb").Pixels.ToArray();
        for (var trial = 0; trial < 100; trial++)
        {
            int x = random.Next(10, 50), y = random.Next(10, 30), margin = random.Next(0, 10);
            var crop = new PixelRegion(x, y, random.Next(1, 20), random.Next(1, 20));
            var region = new PixelRegion(x - margin, y - margin, crop.Width + 2 * margin, crop.Height + 2 * margin);
            var part = new byte[region.Width * region.Height * 3];
            for (var row = 0; row < region.Height; row++)
                whole.AsSpan(((region.Y + row) * Width + region.X) * 3, region.Width * 3).CopyTo(part.AsSpan(row * region.Width * 3));
            byte[] fromPart = new byte[32 * 32 * 3], fromWhole = new byte[32 * 32 * 3];
            var recipe = new ViewRecipe { Size = 32 };
            new ViewRenderer().Render(new DecodedImage(part, region, 3, 1), ViewParameters.Plain(crop), recipe, fromPart);
            new ViewRenderer().Render(Source("rgb"), ViewParameters.Plain(crop), recipe, fromWhole);
            fromPart.ShouldBe(fromWhole);
        }
    }

    [Fact]
    public void Render_ScaledImage_IsCloseToTheFullOne()
    {
        using var codec = new ImageCodec();
        var file = Files.Image("baseline-444.jpg");
        var crop = new PixelRegion(7, 5, 70, 51);
        var recipe = new ViewRecipe { Size = 12 };
        byte[] full = new byte[12 * 12 * 3], scaled = new byte[full.Length];
        new ViewRenderer().Render(codec.Decode(file), ViewParameters.Plain(crop), recipe, full);
        new ViewRenderer().Render(codec.Decode(file, crop, 2), ViewParameters.Plain(crop), recipe, scaled);
        full.Zip(scaled).Average(pair => Math.Abs(pair.First - pair.Second)).ShouldBeLessThan(2);
    }

    [Fact]
    public void Render_SecondImage_AllocatesNothing()
    {
        var renderer = new ViewRenderer();
        var recipe = new ViewRecipe { Size = 32, Blur = new BlurRecipe { KernelSize = 5 } };
        var parameters = ViewParameters.Plain(new PixelRegion(3, 3, 60, 50)) with
        {
            Jitter = true,
            Brightness = 1.2f,
            Contrast = 0.7f,
            Saturation = 1.3f,
            Hue = 0.1f,
            Grayscale = true,
            BlurSigma = 1,
            Solarize = true,
            Flip = true,
        };
        var pixels = Source("rgb").Pixels.ToArray();
        var view = new byte[32 * 32 * 3];
        var whole = new PixelRegion(0, 0, Width, Height);
        renderer.Render(new DecodedImage(pixels, whole, 3, 1), parameters, recipe, view);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++)
            renderer.Render(new DecodedImage(pixels, whole, 3, 1), parameters, recipe, view);
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBe(0);
    }

    private static (ViewParameters Parameters, ViewRecipe Recipe) Parse(JsonElement one)
    {
        var crop = one.GetProperty("crop").EnumerateArray().Select(value => value.GetInt32()).ToArray();
        var wanted = string.Concat(one.GetProperty("order").EnumerateArray().Select(name => (int)Enum.Parse<ColorOperation>(name.GetString()!, ignoreCase: true)));
        var order = Enumerable.Range(0, 24).Single(number =>
            string.Concat(Enumerable.Range(0, 4).Select(place => (int)new ViewParameters { Crop = default, JitterOrder = number }.OperationAt(place))) == wanted);
        var parameters = new ViewParameters
        {
            Crop = new PixelRegion(crop[0], crop[1], crop[2], crop[3]),
            Flip = one.GetProperty("flip").GetBoolean(),
            Jitter = true,
            JitterOrder = order,
            Brightness = Factor("brightness", 1),
            Contrast = Factor("contrast", 1),
            Saturation = Factor("saturation", 1),
            Hue = Factor("hue", 0),
            Grayscale = one.GetProperty("grayscale").GetBoolean(),
            BlurSigma = one.GetProperty("sigma").GetSingle(),
            Solarize = one.GetProperty("solarize").GetBoolean(),
        };
        return (parameters, new ViewRecipe
        {
            Size = one.GetProperty("size").GetInt32(),
            Blur = new BlurRecipe { KernelSize = one.GetProperty("kernel").GetInt32() },
            SolarizeThreshold = one.GetProperty("threshold").GetDouble(),
        });

        float Factor(string name, float none) => one.GetProperty(name) is { ValueKind: JsonValueKind.Number } value ? value.GetSingle() : none;
    }

    private static DecodedImage Source(string name)
    {
        var pixels = File.ReadAllBytes(Files.Reference($"view-source-{name}.bin"));
        return name == "rgb" ? new DecodedImage(pixels, new PixelRegion(0, 0, Width, Height), 3, 1) : new DecodedImage(pixels, new PixelRegion(0, 0, 28, 28), 1, 1);
    }

    /// <summary>The definition in double, pixel by pixel: the crop's pixels weighted by a triangle around the output pixel's centre.</summary>
    private static double[] SlowResize(ReadOnlySpan<byte> pixels, PixelRegion crop, int size)
    {
        var result = new double[size * size * 3];
        double scaleX = (double)crop.Width / size, scaleY = (double)crop.Height / size;
        for (var i = 0; i < result.Length; i++)
        {
            double centerX = (i / 3 % size + 0.5) * scaleX, centerY = (i / 3 / size + 0.5) * scaleY;
            double sum = 0, total = 0;
            for (var y = 0; y < crop.Height; y++)
            {
                for (var x = 0; x < crop.Width; x++)
                {
                    var weight = Triangle((x + 0.5 - centerX) / Math.Max(1, scaleX)) * Triangle((y + 0.5 - centerY) / Math.Max(1, scaleY));
                    total += weight;
                    sum += weight * pixels[((crop.Y + y) * Width + crop.X + x) * 3 + i % 3];
                }
            }

            result[i] = sum / total;
        }

        return result;

        static double Triangle(double x) => Math.Max(0, 1 - Math.Abs(x));
    }
}

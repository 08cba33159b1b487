using System.Text.Json;

namespace DarkMatter.Data.Tests.Augment;

public class ViewParametersTests
{
    private static readonly ViewRecipe All = new()
    {
        FlipProbability = 0.5,
        ColorJitter = new ColorJitterRecipe { Probability = 0.8, Brightness = 0.4, Contrast = 1.5, Saturation = 0.2, Hue = 0.1 },
        GrayscaleProbability = 0.2,
        Blur = new BlurRecipe { Probability = 0.5, SigmaMin = 0.1, SigmaMax = 2, KernelSize = 23 },
        SolarizeProbability = 0.1,
    };

    public static TheoryData<int> CropCases => [0, 1, 2];

    [Theory]
    [MemberData(nameof(CropCases))]
    public void Crop_Statistics_AreTorchvisions(int number)
    {
        using var reference = JsonDocument.Parse(File.ReadAllText(Files.Reference("crops.json")));
        var row = reference.RootElement[number];
        double Value(string name) => row.GetProperty(name).GetDouble();
        int width = row.GetProperty("width").GetInt32(), height = row.GetProperty("height").GetInt32();
        var recipe = new ViewRecipe
        {
            ScaleMin = row.GetProperty("scale")[0].GetDouble(),
            ScaleMax = row.GetProperty("scale")[1].GetDouble(),
            RatioMin = row.GetProperty("ratio")[0].GetDouble(),
            RatioMax = row.GetProperty("ratio")[1].GetDouble(),
        };
        const int Count = 200_000;
        var crops = Enumerable.Range(0, Count).Select(i => ViewParameters.Draw(KeyedRandom.ForView(3, 0, i, 0), recipe, width, height).Crop).ToList();
        crops.ShouldAllBe(crop => crop.X >= 0 && crop.Y >= 0 && crop.X + crop.Width <= width && crop.Y + crop.Height <= height && crop.Width > 0 && crop.Height > 0);

        // Both sides are means of 200,000 draws of spreads below 0.3: their difference has a standard deviation below 0.001.
        const double Tolerance = 0.005;
        crops.Average(crop => (double)crop.Width * crop.Height / width / height).ShouldBe(Value("area"), Tolerance);
        crops.Average(crop => Math.Log((double)crop.Width / crop.Height)).ShouldBe(Value("log_ratio"), Tolerance);
        var mean = crops.Average(crop => Math.Log((double)crop.Width / crop.Height));
        Math.Sqrt(crops.Average(crop => Math.Pow(Math.Log((double)crop.Width / crop.Height) - mean, 2))).ShouldBe(Value("log_ratio_std"), Tolerance);
        crops.Average(crop => (double)crop.X / width).ShouldBe(Value("x"), Tolerance);
        crops.Average(crop => (double)crop.Y / height).ShouldBe(Value("y"), Tolerance);
        crops.Average(crop => (double)crop.Width / width).ShouldBe(Value("crop_width"), Tolerance);
        crops.Average(crop => crop.Height == height ? 1.0 : 0).ShouldBe(Value("whole_height"), Tolerance);
    }

    [Fact]
    public void Draw_Frequencies_AreTheRecipes()
    {
        const int Count = 100_000;
        var views = Enumerable.Range(0, Count).Select(i => ViewParameters.Draw(KeyedRandom.ForView(9, 1, i, 1), All, 500, 375)).ToList();
        const double Tolerance = 0.01; // six standard deviations of a share
        Share(view => view.Flip).ShouldBe(0.5, Tolerance);
        Share(view => view.Jitter).ShouldBe(0.8, Tolerance);
        Share(view => view.Grayscale).ShouldBe(0.2, Tolerance);
        Share(view => view.BlurSigma > 0).ShouldBe(0.5, Tolerance);
        Share(view => view.Solarize).ShouldBe(0.1, Tolerance);
        Share(view => view.Jitter && view.Flip && view.Grayscale).ShouldBe(0.08, Tolerance); // independent
        views.Select(view => view.Brightness).ShouldAllBe(factor => factor >= 0.6f && factor <= 1.4f);
        views.Average(view => (double)view.Brightness).ShouldBe(1, Tolerance);
        views.Min(view => (double)view.Contrast).ShouldBe(0, Tolerance); // max(0, 1 − 1.5)
        views.Max(view => (double)view.Contrast).ShouldBe(2.5, Tolerance);
        views.Min(view => (double)view.Hue).ShouldBe(-0.1, Tolerance);
        views.Max(view => (double)view.Hue).ShouldBe(0.1, Tolerance);
        views.Where(view => view.BlurSigma > 0).Average(view => (double)view.BlurSigma).ShouldBe(1.05, 0.02);
        for (var operation = 0; operation < 4; operation++)
        {
            for (var place = 0; place < 4; place++)
                Share(view => view.OperationAt(place) == (ColorOperation)operation).ShouldBe(0.25, Tolerance);
        }

        views.Select(view => view.JitterOrder).Distinct().Count().ShouldBe(24);

        double Share(Func<ViewParameters, bool> holds) => views.Count(holds) / (double)Count;
    }

    [Fact]
    public void JitterOrders_All24_AreDifferentPermutations()
    {
        var orders = Enumerable.Range(0, 24).Select(order => new ViewParameters { Crop = default, JitterOrder = order })
            .Select(view => string.Concat(Enumerable.Range(0, 4).Select(place => (int)view.OperationAt(place)))).ToList();
        orders.Distinct().Count().ShouldBe(24);
        orders.ShouldAllBe(order => order.Order().SequenceEqual("0123"));
    }

    [Fact]
    public void Draw_OneUseTurnedOff_LeavesTheOthers()
    {
        for (var i = 0; i < 1000; i++)
        {
            var key = KeyedRandom.ForView(1, 2, i, 0);
            var all = ViewParameters.Draw(key, All, 500, 375);
            ViewParameters.Draw(key, All with { FlipProbability = 0 }, 500, 375).ShouldBe(all with { Flip = false });
            ViewParameters.Draw(key, All with { SolarizeProbability = 0 }, 500, 375).ShouldBe(all with { Solarize = false });
        }
    }

    [Fact]
    public void FindProblems_EveryWrongProperty_IsNamed()
    {
        new ViewRecipe().FindProblems().ShouldBeEmpty();
        All.FindProblems().ShouldBeEmpty();
        var wrong = new ViewRecipe
        {
            Size = 8,
            ScaleMin = 0,
            RatioMax = 0.5,
            FlipProbability = 1.5,
            ColorJitter = new ColorJitterRecipe { Probability = -1, Brightness = -1, Contrast = double.NaN, Saturation = -0.1, Hue = 0.6 },
            GrayscaleProbability = 2,
            Blur = new BlurRecipe { Probability = 0.5, SigmaMin = 3, SigmaMax = 2, KernelSize = 22 },
            SolarizeProbability = -0.5,
            SolarizeThreshold = 300,
        };
        var problems = wrong.FindProblems();
        foreach (var name in new[]
        {
            "ScaleMin..", "RatioMin..", "FlipProbability", "ColorJitter.Probability", "ColorJitter.Brightness", "ColorJitter.Contrast", "ColorJitter.Saturation",
            "ColorJitter.Hue", "GrayscaleProbability", "Blur.SigmaMin..", "Blur.KernelSize is 22; it is odd", "Blur.KernelSize is 22; half of it", "SolarizeProbability", "SolarizeThreshold",
        })
        {
            problems.ShouldContain(problem => problem.StartsWith(name, StringComparison.Ordinal), name);
        }
    }
}

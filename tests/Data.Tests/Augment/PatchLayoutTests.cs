namespace DarkMatter.Data.Tests.Augment;

/// <summary>Views that are cut into a grid: every patch is a part of its cell, each cell once, by the sample's dice alone.</summary>
public class PatchLayoutTests
{
    private static readonly ViewRecipe Recipe = new() { Size = 12, Grid = 3, GridGap = 2, FlipProbability = 0 };
    private static readonly PixelRegion Whole = new(0, 0, 40, 30);

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void View_OfAGrid_HoldsAPatchOfEveryCellOfTheResizedCrop(int channels)
    {
        var image = Image(channels);
        for (var sample = 0; sample < 20; sample++)
        {
            var parameters = ViewParameters.Plain(Whole) with { Key = KeyedRandom.ForView(7, 0, sample, 1) };
            var sheet = Render(image, ViewParameters.Plain(Whole), new ViewRecipe { Size = 18 });
            var view = Render(image, parameters, Recipe);
            var layout = new PatchLayout(parameters.Key, Recipe);
            var cells = new HashSet<(int, int)>();
            for (var place = 0; place < 9; place++)
            {
                var (left, top) = layout.Source(place);
                cells.Add((left / 6, top / 6));
                (left % 6).ShouldBeLessThan(2, "the patch begins inside the gap, so it stays inside its cell");
                (top % 6).ShouldBeLessThan(2);
                for (var y = 0; y < 4; y++)
                {
                    var expected = sheet.AsSpan((((top + y) * 18) + left) * 3, 12).ToArray();
                    view.AsSpan((((((place / 3) * 4) + y) * 12) + (place % 3 * 4)) * 3, 12).ToArray().ShouldBe(expected, $"sample {sample}, place {place}, row {y}");
                }
            }

            cells.Count.ShouldBe(9);
        }
    }

    [Fact]
    public void Patches_OfOneSample_ThrowTheirOwnDiceAndThoseOfTheSampleAlone()
    {
        var recipe = Recipe with { FlipProbability = 0.5, ColorJitter = new ColorJitterRecipe { Probability = 1, Brightness = 0.8 } };
        byte[] View(int sample) => Render(Image(3), ViewParameters.Draw(KeyedRandom.ForView(7, 3, sample, 1), recipe, 40, 30), recipe);
        View(5).ShouldBe(View(5));
        View(5).ShouldNotBe(View(6));
        var layout = new PatchLayout(KeyedRandom.ForView(7, 3, 5, 1), recipe);
        Enumerable.Range(0, 9).Select(place => ViewParameters.Draw(layout.Key(place), recipe, 40, 30).Brightness).Distinct().Count().ShouldBe(9);
    }

    [Fact]
    public void Problems_GridThatDoesNotDivideTheSize_AreNamed() =>
        (Recipe with { Size = 13 }).FindProblems().ShouldHaveSingleItem().ShouldContain("Grid is 3");

    private static byte[] Render(DecodedImage image, ViewParameters parameters, ViewRecipe recipe)
    {
        var bytes = new byte[recipe.Size * recipe.Size * 3];
        new ViewRenderer().Render(image, parameters, recipe, bytes);
        return bytes;
    }

    private static DecodedImage Image(int channels)
    {
        var random = new Random(3);
        var pixels = new byte[Whole.Width * Whole.Height * channels];
        random.NextBytes(pixels);
        return new DecodedImage(pixels, Whole, channels, 1);
    }
}

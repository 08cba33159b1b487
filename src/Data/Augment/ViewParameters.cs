namespace DarkMatter.Data;

/// <summary>One step of colour jitter.</summary>
public enum ColorOperation
{
    /// <summary>Multiply all channels.</summary>
    Brightness = 0,

    /// <summary>Blend with the image's mean gray.</summary>
    Contrast = 1,

    /// <summary>Blend with the pixel's gray.</summary>
    Saturation = 2,

    /// <summary>Turn the colour circle.</summary>
    Hue = 3,
}

/// <summary>What a view's dice came to: everything random about it. Drawing is pure and needs no pixels.</summary>
public readonly record struct ViewParameters
{
    private const int CropTries = 10;

    // Each use has its own draw of the key, so that a recipe that turns one off does not change the others.
    private const int DrawFlip = 0, DrawJitter = 1, DrawOrder = 2, DrawBrightness = 3, DrawContrast = 4, DrawSaturation = 5, DrawHue = 6;
    private const int DrawGrayscale = 7, DrawBlur = 8, DrawSigma = 9, DrawSolarize = 10, DrawCrop = 16;

    private static ReadOnlySpan<byte> Orders =>
    [
        0, 1, 2, 3, 0, 1, 3, 2, 0, 2, 1, 3, 0, 2, 3, 1, 0, 3, 1, 2, 0, 3, 2, 1,
        1, 0, 2, 3, 1, 0, 3, 2, 1, 2, 0, 3, 1, 2, 3, 0, 1, 3, 0, 2, 1, 3, 2, 0,
        2, 0, 1, 3, 2, 0, 3, 1, 2, 1, 0, 3, 2, 1, 3, 0, 2, 3, 0, 1, 2, 3, 1, 0,
        3, 0, 1, 2, 3, 0, 2, 1, 3, 1, 0, 2, 3, 1, 2, 0, 3, 2, 0, 1, 3, 2, 1, 0,
    ];

    /// <summary>What the dice were thrown with: the patches of a view that is cut into a grid throw their own.</summary>
    public KeyedRandom Key { get; init; }

    /// <summary>The part of the image that becomes the view, in full-size pixels.</summary>
    public required PixelRegion Crop { get; init; }

    /// <summary>Whether left and right are exchanged.</summary>
    public bool Flip { get; init; }

    /// <summary>Whether the colours are jittered; the factors below count only then.</summary>
    public bool Jitter { get; init; }

    /// <summary>Which of the 24 orders the four colour operations take.</summary>
    public int JitterOrder { get; init; }

    /// <summary>Factor, 1 changes nothing.</summary>
    public float Brightness { get; init; }

    /// <summary>Factor, 1 changes nothing.</summary>
    public float Contrast { get; init; }

    /// <summary>Factor, 1 changes nothing.</summary>
    public float Saturation { get; init; }

    /// <summary>Turns, −0.5 to 0.5; 0 changes nothing.</summary>
    public float Hue { get; init; }

    /// <summary>Whether the view turns gray.</summary>
    public bool Grayscale { get; init; }

    /// <summary>Standard deviation of the blur, pixels; 0 is none.</summary>
    public float BlurSigma { get; init; }

    /// <summary>Whether bright pixels are inverted.</summary>
    public bool Solarize { get; init; }

    /// <summary>The colour operation that comes at a place (0 to 3) of the order.</summary>
    public ColorOperation OperationAt(int place) => (ColorOperation)Orders[JitterOrder * 4 + place];

    /// <summary>The view of a whole image, unchanged but resized.</summary>
    public static ViewParameters Plain(PixelRegion crop) => new() { Crop = crop, Brightness = 1, Contrast = 1, Saturation = 1 };

    /// <summary>Throws a view's dice.</summary>
    /// <param name="key">The key of (seed, epoch, sample, view).</param>
    /// <param name="recipe">The probabilities and ranges.</param>
    /// <param name="width">The image's width, pixels.</param>
    /// <param name="height">The image's height, pixels.</param>
    public static ViewParameters Draw(KeyedRandom key, ViewRecipe recipe, int width, int height)
    {
        ArgumentNullException.ThrowIfNull(recipe);
        var jitter = recipe.ColorJitter;
        return new ViewParameters
        {
            Key = key,
            Crop = DrawCropRegion(key, recipe, width, height),
            Flip = key.Unit(DrawFlip) < recipe.FlipProbability,
            Jitter = key.Unit(DrawJitter) < jitter.Probability,
            JitterOrder = key.Below(DrawOrder, 24),
            Brightness = Factor(DrawBrightness, jitter.Brightness),
            Contrast = Factor(DrawContrast, jitter.Contrast),
            Saturation = Factor(DrawSaturation, jitter.Saturation),
            Hue = (float)key.Uniform(DrawHue, -jitter.Hue, jitter.Hue),
            Grayscale = key.Unit(DrawGrayscale) < recipe.GrayscaleProbability,
            BlurSigma = key.Unit(DrawBlur) < recipe.Blur.Probability ? (float)key.Uniform(DrawSigma, recipe.Blur.SigmaMin, recipe.Blur.SigmaMax) : 0,
            Solarize = key.Unit(DrawSolarize) < recipe.SolarizeProbability,
        };

        float Factor(int draw, double strength) => (float)key.Uniform(draw, Math.Max(0, 1 - strength), 1 + strength);
    }

    // torchvision.transforms.RandomResizedCrop.get_params: uniform area, log-uniform ratio, ten tries, then the largest fitting centre crop.
    private static PixelRegion DrawCropRegion(KeyedRandom key, ViewRecipe recipe, int width, int height)
    {
        double logMin = Math.Log(recipe.RatioMin), logMax = Math.Log(recipe.RatioMax);
        for (var attempt = 0; attempt < CropTries; attempt++)
        {
            var draw = DrawCrop + attempt * 4;
            var area = (double)width * height * key.Uniform(draw, recipe.ScaleMin, recipe.ScaleMax);
            var ratio = Math.Exp(key.Uniform(draw + 1, logMin, logMax));
            var w = (int)Math.Round(Math.Sqrt(area * ratio));
            var h = (int)Math.Round(Math.Sqrt(area / ratio));
            if (w > 0 && w <= width && h > 0 && h <= height)
                return new PixelRegion(key.Below(draw + 2, width - w + 1), key.Below(draw + 3, height - h + 1), w, h);
        }

        var imageRatio = (double)width / height;
        int cropWidth = width, cropHeight = height;
        if (imageRatio < recipe.RatioMin)
            cropHeight = Math.Clamp((int)Math.Round(width / recipe.RatioMin), 1, height);
        else if (imageRatio > recipe.RatioMax)
            cropWidth = Math.Clamp((int)Math.Round(height * recipe.RatioMax), 1, width);
        return new PixelRegion((width - cropWidth) / 2, (height - cropHeight) / 2, cropWidth, cropHeight);
    }
}

namespace DarkMatter.Data;

/// <summary>
/// How one view is made from an image, in this order: random resized crop, flip, colour jitter, grayscale, Gaussian blur, solarize.
/// Definitions are torchvision's on float tensors; the result is rounded to uint8 once, at the end. Normalising is the device's part.
/// </summary>
public sealed record ViewRecipe
{
    /// <summary>Height and width of the view, pixels, 1 to 4096. Default 224.</summary>
    public int Size { get; init; } = 224;

    /// <summary>Smallest part of the image's area that the crop covers, above 0 to 1. Default 0.08 (SimCLR, appendix A).</summary>
    public double ScaleMin { get; init; } = 0.08;

    /// <summary>Largest part of the image's area that the crop covers, up to 1. Default 1.</summary>
    public double ScaleMax { get; init; } = 1;

    /// <summary>Smallest width / height of the crop. Default 3/4.</summary>
    public double RatioMin { get; init; } = 3.0 / 4;

    /// <summary>Largest width / height of the crop. Default 4/3.</summary>
    public double RatioMax { get; init; } = 4.0 / 3;

    /// <summary>Probability of a horizontal flip, 0 to 1. Default 0.5.</summary>
    public double FlipProbability { get; init; } = 0.5;

    /// <summary>Random brightness, contrast, saturation and hue in random order. Default: never.</summary>
    public ColorJitterRecipe ColorJitter { get; init; } = new();

    /// <summary>Probability of turning gray, 0 to 1. Default 0.</summary>
    public double GrayscaleProbability { get; init; }

    /// <summary>Gaussian blur. Default: never.</summary>
    public BlurRecipe Blur { get; init; } = new();

    /// <summary>Probability of solarizing, 0 to 1. Default 0.</summary>
    public double SolarizeProbability { get; init; }

    /// <summary>Pixels at or above this level (0 to 256) are inverted. Default 128 (BYOL, appendix B).</summary>
    public double SolarizeThreshold { get; init; } = 128;

    /// <summary>
    /// Patches a side: above 1, the crop is cut into a grid, one patch from each cell, and the view is the patches in random order, each with
    /// dice of its own for flip, colours and blur (the jigsaw of PIRL). Divides <see cref="Size"/>. Range 1 to 8, default 1: one whole view.
    /// </summary>
    public int Grid { get; init; } = 1;

    /// <summary>How many pixels less than its cell a patch has, so that lines that go on do not give the order away. Range 0 to 256, default 0.</summary>
    public int GridGap { get; init; }

    /// <summary>Every problem of the recipe, each naming the property; empty when it is sound.</summary>
    public IReadOnlyList<string> FindProblems()
    {
        var problems = new List<string>();
        Check(Size is >= 1 and <= 4096, $"Size is {Size}; it is 1 to 4096 pixels");
        Check(ScaleMin > 0 && ScaleMin <= ScaleMax && ScaleMax <= 1, $"ScaleMin..ScaleMax is {ScaleMin}..{ScaleMax}; 0 < ScaleMin ≤ ScaleMax ≤ 1");
        Check(RatioMin > 0 && RatioMin <= RatioMax && double.IsFinite(RatioMax), $"RatioMin..RatioMax is {RatioMin}..{RatioMax}; 0 < RatioMin ≤ RatioMax");
        CheckProbability(nameof(FlipProbability), FlipProbability);
        CheckProbability("ColorJitter.Probability", ColorJitter.Probability);
        CheckStrength("ColorJitter.Brightness", ColorJitter.Brightness);
        CheckStrength("ColorJitter.Contrast", ColorJitter.Contrast);
        CheckStrength("ColorJitter.Saturation", ColorJitter.Saturation);
        Check(ColorJitter.Hue is >= 0 and <= 0.5, $"ColorJitter.Hue is {ColorJitter.Hue}; it is 0 to 0.5 of a turn");
        CheckProbability(nameof(GrayscaleProbability), GrayscaleProbability);
        CheckProbability("Blur.Probability", Blur.Probability);
        Check(Blur.SigmaMin > 0 && Blur.SigmaMin <= Blur.SigmaMax && double.IsFinite(Blur.SigmaMax),
            $"Blur.SigmaMin..SigmaMax is {Blur.SigmaMin}..{Blur.SigmaMax}; 0 < SigmaMin ≤ SigmaMax pixels");
        Check(Blur.KernelSize >= 1 && Blur.KernelSize % 2 == 1, $"Blur.KernelSize is {Blur.KernelSize}; it is odd and at least 1");
        Check(Blur.Probability == 0 || Blur.KernelSize / 2 < Size,
            $"Blur.KernelSize is {Blur.KernelSize}; half of it must be less than Size ({Size}), because the border is mirrored");
        CheckProbability(nameof(SolarizeProbability), SolarizeProbability);
        Check(SolarizeThreshold is >= 0 and <= 256, $"SolarizeThreshold is {SolarizeThreshold}; it is 0 to 256");
        Check(Grid is >= 1 and <= 8 && Size % Grid == 0, $"Grid is {Grid}; it is 1 to 8 and divides Size ({Size})");
        Check(GridGap is >= 0 and <= 256, $"GridGap is {GridGap}; it is 0 to 256 pixels");
        Check(Grid <= 1 || Blur.Probability == 0 || Blur.KernelSize / 2 < Size / Grid,
            $"Blur.KernelSize is {Blur.KernelSize}; half of it must be less than a patch of the grid ({Size / Math.Max(1, Grid)})");
        return problems;

        void Check(bool sound, FormattableString problem)
        {
            if (!sound)
                problems.Add(FormattableString.Invariant(problem));
        }

        void CheckProbability(string name, double value) => Check(value is >= 0 and <= 1, $"{name} is {value}; a probability is 0 to 1");
        void CheckStrength(string name, double value) => Check(value >= 0 && double.IsFinite(value), $"{name} is {value}; it is 0 or more");
    }
}

/// <summary>torchvision's ColorJitter behind a RandomApply. Each strength s draws its factor from [max(0, 1−s), 1+s].</summary>
public sealed record ColorJitterRecipe
{
    /// <summary>Probability that the view is jittered at all, 0 to 1. Default 0; SimCLR uses 0.8.</summary>
    public double Probability { get; init; }

    /// <summary>Strength of brightness, 0 or more.</summary>
    public double Brightness { get; init; }

    /// <summary>Strength of contrast, 0 or more.</summary>
    public double Contrast { get; init; }

    /// <summary>Strength of saturation, 0 or more.</summary>
    public double Saturation { get; init; }

    /// <summary>Largest hue shift to either side, 0 to 0.5 of a turn.</summary>
    public double Hue { get; init; }
}

/// <summary>torchvision's GaussianBlur behind a RandomApply.</summary>
public sealed record BlurRecipe
{
    /// <summary>Probability that the view is blurred, 0 to 1. Default 0; SimCLR uses 0.5.</summary>
    public double Probability { get; init; }

    /// <summary>Smallest standard deviation, pixels. Default 0.1.</summary>
    public double SigmaMin { get; init; } = 0.1;

    /// <summary>Largest standard deviation, pixels. Default 2.</summary>
    public double SigmaMax { get; init; } = 2;

    /// <summary>Width of the kernel, pixels, odd. Default 23: a tenth of 224, as in SimCLR.</summary>
    public int KernelSize { get; init; } = 23;
}

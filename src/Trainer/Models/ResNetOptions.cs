namespace DarkMatter.Trainer.Models;

/// <summary>What a ResNet does with the image before its first residual stage.</summary>
public enum ResNetStem
{
    /// <summary>7×7 convolution with stride 2, then 3×3 max-pool with stride 2: torchvision's, for images of 128 pixels and more.</summary>
    ImageNet = 0,

    /// <summary>3×3 convolution with stride 1, no max-pool: the CIFAR stem, for images of 28 to 64 pixels.</summary>
    Small = 1,

    /// <summary>3×3 convolution with stride 2, no max-pool: a quarter of the small stem's work.</summary>
    SmallStride2 = 2,
}

/// <summary>Which residual network, and how wide. Its stages are those of torchvision's models of the same name.</summary>
public sealed record ResNetOptions
{
    /// <summary>The depths that are known.</summary>
    public static IReadOnlyList<int> Depths { get; } = [18, 34, 50];

    /// <summary>18, 34 or 50: the number in the model's name. Default 18.</summary>
    public int Depth { get; init; } = 18;

    /// <summary>Channels of the first stage; the later ones have 2, 4 and 8 times as many. Range 8 to 512, default 64 (torchvision's).</summary>
    public int Width { get; init; } = 64;

    /// <summary>The first layers. Default <see cref="ResNetStem.ImageNet"/>.</summary>
    public ResNetStem Stem { get; init; } = ResNetStem.ImageNet;

    /// <summary>Start every residual block as the identity: the last normalisation of each has weight 0. Default false, as in torchvision.</summary>
    public bool ZeroInitResidual { get; init; }

    /// <summary>Everything that is wrong with these options; empty when nothing is.</summary>
    public IEnumerable<string> Problems()
    {
        if (!Depths.Contains(Depth))
            yield return $"model.backbone: resnet{Depth} is not known; expected one of {string.Join(", ", Depths.Select(d => $"resnet{d}"))}";
        if (Width is < 8 or > 512)
            yield return $"model.width: {Width} is outside 8..512 channels";
        if (!Enum.IsDefined(Stem))
            yield return $"model.stem: {Stem} is not one of {string.Join(", ", Enum.GetNames<ResNetStem>())}";
    }
}

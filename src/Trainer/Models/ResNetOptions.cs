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
public sealed record ResNetOptions : BackboneOptions
{
    /// <summary>The depths that are known.</summary>
    public static IReadOnlyList<int> Depths { get; } = [18, 34, 50];

    /// <inheritdoc/>
    public override string Architecture => $"resnet{Depth}";

    /// <summary>18, 34 or 50: the number in the model's name. Default 18.</summary>
    public int Depth { get; init; } = 18;

    /// <summary>Channels of the first stage; the later ones have 2, 4 and 8 times as many. Range 8 to 512, default 64 (torchvision's).</summary>
    public int Width { get; init; } = 64;

    /// <summary>The first layers. Default <see cref="ResNetStem.ImageNet"/>.</summary>
    public ResNetStem Stem { get; init; } = ResNetStem.ImageNet;

    /// <summary>Start every residual block as the identity: the last normalisation of each has weight 0. Default false, as in torchvision.</summary>
    public bool ZeroInitResidual { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<string> Problems()
    {
        if (!Depths.Contains(Depth))
            yield return $"model.backbone: resnet{Depth} is not known; expected one of {string.Join(", ", Depths.Select(d => $"resnet{d}"))}";
        if (Width is < 8 or > 512)
            yield return $"model.width: {Width} is outside 8..512 channels";
        if (!Enum.IsDefined(Stem))
            yield return $"model.stem: {Stem} is not one of {string.Join(", ", Enum.GetNames<ResNetStem>())}";
    }

    /// <inheritdoc/>
    public override Backbone Create(Normalization norm) => new ResNet(this, norm);

    internal override IEnumerable<(string Key, object Value)> Facts() => [("width", Width), ("stem", Stem.ToString())];

    internal override IEnumerable<string> PythonLines()
    {
        if (Width == 64)
        {
            yield return $"model = torchvision.models.resnet{Depth}()";
        }
        else
        {
            yield return "class Narrow(torchvision.models.ResNet):";
            yield return "    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):";
            yield return $"        if self.inplanes == 64 and planes == 64: self.inplanes = {Width}; self.conv1 = torch.nn.Conv2d(3, {Width}, 7, 2, 3, bias=False); self.bn1 = torch.nn.BatchNorm2d({Width})";
            yield return $"        return super()._make_layer(block, planes * {Width} // 64, blocks, stride, dilate)";
            yield return $"model = Narrow(torchvision.models.resnet.{(Depth == 50 ? "Bottleneck" : "BasicBlock")}, {(Depth == 18 ? "[2, 2, 2, 2]" : "[3, 4, 6, 3]")})";
        }

        if (Stem != ResNetStem.ImageNet)
        {
            yield return $"model.conv1 = torch.nn.Conv2d(3, {Width}, 3, {(Stem == ResNetStem.Small ? 1 : 2)}, 1, bias=False)";
            yield return "model.maxpool = torch.nn.Identity()";
        }
    }
}

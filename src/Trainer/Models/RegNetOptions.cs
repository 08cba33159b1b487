using System.Globalization;

namespace DarkMatter.Trainer.Models;

/// <summary>
/// A RegNetY: five numbers say how wide and deep its stages are. Source: Radosavovic et al. 2020, section 3; torchvision <c>models/regnet.py</c>;
/// 256gf and 10b as VISSL builds SEER (Goyal et al. 2021, 2022).
/// </summary>
public sealed record RegNetOptions : BackboneOptions
{
    /// <summary>Blocks are as wide as multiples of this.</summary>
    private const int Quantum = 8;

    private static readonly (string Name, int Depth, int Width, double Slope, double Factor, int Group)[] Known =
    [
        ("regnet_y_400mf", 16, 48, 27.89, 2.09, 8),
        ("regnet_y_800mf", 14, 56, 38.84, 2.4, 16),
        ("regnet_y_1_6gf", 27, 48, 20.71, 2.65, 24),
        ("regnet_y_3_2gf", 21, 80, 42.63, 2.66, 24),
        ("regnet_y_8gf", 17, 192, 76.82, 2.19, 56),
        ("regnet_y_16gf", 18, 200, 106.23, 2.48, 112),
        ("regnet_y_32gf", 20, 232, 115.89, 2.53, 232),
        ("regnet_y_128gf", 27, 456, 160.83, 2.52, 264),
        ("regnet_y_256gf", 27, 640, 230.83, 2.53, 373),
        ("regnet_y_10b", 27, 1744, 620.83, 2.52, 1010),
    ];

    /// <summary>The names of known sizes, and <c>regnet_y</c> for any other.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Known.Select(k => k.Name), "regnet_y"];

    /// <inheritdoc/>
    public override string Architecture => Size;

    /// <summary>One of <see cref="Names"/>. Default <c>regnet_y</c>.</summary>
    public string Size { get; init; } = "regnet_y";

    /// <summary>Blocks. Range 1 to 64, default 16.</summary>
    public int Depth { get; init; } = 16;

    /// <summary>w₀, channels of the first block, a multiple of 8. Range 8 to 4096, default 48.</summary>
    public int Width { get; init; } = 48;

    /// <summary>w_a, how many channels each block has more than the one before, before they are rounded. Range 0 to 4096, default 27.89.</summary>
    public double Slope { get; init; } = 27.89;

    /// <summary>w_m, how many times as wide the next stage is. Range above 1 to 16, default 2.09.</summary>
    public double Factor { get; init; } = 2.09;

    /// <summary>Channels of each group of the 3×3 convolutions. Range 1 to 4096, default 8.</summary>
    public int GroupWidth { get; init; } = 8;

    /// <summary>Channels of the stem. Range 8 to 512, default 32.</summary>
    public int StemWidth { get; init; } = 32;

    /// <summary>Whether the stem keeps height and width, for images of 28 to 64 pixels, instead of halving them. Default false.</summary>
    public bool SmallStem { get; init; }

    /// <summary>The options of a known size.</summary>
    /// <exception cref="ArgumentException">There is none of this name.</exception>
    public static RegNetOptions Of(string name)
    {
        if (name == "regnet_y")
            return new RegNetOptions();
        var (known, depth, width, slope, factor, group) = Known.FirstOrDefault(k => k.Name == name);
        return known is null
            ? throw new ArgumentException($"model.backbone: {name} is not known; expected one of {string.Join(", ", Names)}", nameof(name))
            : new RegNetOptions { Size = known, Depth = depth, Width = width, Slope = slope, Factor = factor, GroupWidth = group };
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Problems()
    {
        if (!Names.Contains(Size))
            yield return $"model.backbone: {Size} is not known; expected one of {string.Join(", ", Names)}";
        if (Depth is < 1 or > 64)
            yield return $"model.depth: {Depth} is outside 1..64 blocks";
        if (Width is < 8 or > 4096 || Width % Quantum != 0)
            yield return $"model.width: {Width} is not a multiple of 8 in 8..4096 channels";
        if (!(Slope is >= 0 and <= 4096))
            yield return $"model.slope: {Slope} is outside [0, 4096] channels";
        if (!(Factor is > 1 and <= 16))
            yield return $"model.factor: {Factor} is outside (1, 16]";
        if (GroupWidth is < 1 or > 4096)
            yield return $"model.group_width: {GroupWidth} is outside 1..4096 channels";
        if (StemWidth is < 8 or > 512)
            yield return $"model.stem_width: {StemWidth} is outside 8..512 channels";
    }

    /// <inheritdoc/>
    public override Backbone Create(Normalization norm) => new RegNet(Checked<RegNetOptions>(), norm);

    /// <summary>
    /// The stages: block i wants w₀ + w_a·i channels, takes the nearest w₀·w_m^k, rounded to a multiple of 8; blocks of one width are a stage,
    /// whose width is then rounded to whole groups.
    /// </summary>
    public IReadOnlyList<RegNetStage> Stages()
    {
        var widths = Enumerable.Range(0, Depth).Select(i =>
        {
            var capacity = Math.Round(Math.Log((Width + (Slope * i)) / Width) / Math.Log(Factor));
            return (int)Math.Round(Width * Math.Pow(Factor, capacity) / Quantum) * Quantum;
        });
        return [.. widths.GroupBy(width => width).Select(stage =>
        {
            var group = Math.Min(GroupWidth, stage.Key);
            return new RegNetStage(Rounded(stage.Key, group), stage.Count(), group);
        })];
    }

    internal override IEnumerable<(string Key, object Value)> Facts() =>
        [("depth", Depth), ("width", Width), ("slope", Slope), ("factor", Factor), ("group_width", GroupWidth), ("stem_width", StemWidth), ("stem", SmallStem ? "Small" : "ImageNet")];

    internal override IEnumerable<string> PythonLines()
    {
        yield return Size is "regnet_y" or "regnet_y_256gf" or "regnet_y_10b"
            ? string.Create(CultureInfo.InvariantCulture, $"model = torchvision.models.RegNet(torchvision.models.regnet.BlockParams.from_init_params(depth={Depth}, w_0={Width}, w_a={Slope}, w_m={Factor}, group_width={GroupWidth}, se_ratio=0.25), stem_width={StemWidth})")
            : $"model = torchvision.models.{Size}()";
        if (SmallStem)
            yield return $"model.stem[0] = torch.nn.Conv2d(3, {StemWidth}, 3, 1, 1, bias=False)";
    }

    /// <summary>The multiple of <paramref name="group"/> nearest to <paramref name="width"/>, but not less than nine tenths of it.</summary>
    private static int Rounded(int width, int group)
    {
        var rounded = Math.Max(group, (int)(width + (group / 2.0)) / group * group);
        return rounded < 0.9 * width ? rounded + group : rounded;
    }
}

/// <summary>Blocks of one width.</summary>
/// <param name="Width">Channels.</param>
/// <param name="Depth">Blocks; the first halves height and width.</param>
/// <param name="GroupWidth">Channels of each group of its 3×3 convolutions.</param>
public sealed record RegNetStage(int Width, int Depth, int GroupWidth);

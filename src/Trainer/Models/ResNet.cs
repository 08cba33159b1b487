using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DarkMatter.Trainer.Models;

/// <summary>
/// A residual network without its classifier: images in, pooled features out. Stages, names and initialisation are torchvision's, so
/// that an export loads there. Source: He et al. 2015; torchvision <c>models/resnet.py</c>, which wins where they differ (stride on the 3×3).
/// </summary>
public sealed class ResNet : Backbone
{
    private delegate Module<Tensor, Tensor> BlockMaker(int inputs, int planes, int stride, Normalization norm);

    /// <summary>Per depth: the block, how many times its planes it puts out, and how many blocks each stage has.</summary>
    private static readonly Dictionary<int, (BlockMaker Block, int Expansion, int[] Stages)> Rows = new()
    {
        [18] = (BasicBlock.Make, BasicBlock.Expansion, [2, 2, 2, 2]),
        [34] = (BasicBlock.Make, BasicBlock.Expansion, [3, 4, 6, 3]),
        [50] = (Bottleneck.Make, Bottleneck.Expansion, [3, 4, 6, 3]),
    };

    private readonly Conv2d conv1;
    private readonly BatchNorm bn1;
    private readonly MaxPool2d? maxpool;
    private readonly Module<Tensor, Tensor>[] _stages;

    /// <summary>Builds and initialises a network from torch's current random state.</summary>
    /// <param name="options">Depth, width and stem.</param>
    /// <param name="norm">What every normalisation layer is made with.</param>
    /// <exception cref="ArgumentException">The options have problems; all are named.</exception>
    public ResNet(ResNetOptions options, Normalization norm)
        : base("resnet")
    {
        if (options.Problems().ToList() is { Count: > 0 } problems)
            throw new ArgumentException(string.Join("; ", problems), nameof(options));
        var (block, expansion, stages) = Rows[options.Depth];
        Options = options;
        Features = options.Width * 8 * expansion;

        conv1 = options.Stem switch
        {
            ResNetStem.ImageNet => Conv2d(3, options.Width, kernel_size: 7, stride: 2, padding: 3, bias: false),
            ResNetStem.Small => Conv2d(3, options.Width, kernel_size: 3, stride: 1, padding: 1, bias: false),
            _ => Conv2d(3, options.Width, kernel_size: 3, stride: 2, padding: 1, bias: false),
        };
        bn1 = norm.Layer(options.Width);
        register_module(nameof(conv1), conv1);
        register_module(nameof(bn1), bn1);
        if (options.Stem == ResNetStem.ImageNet)
            register_module(nameof(maxpool), maxpool = MaxPool2d(kernel_size: 3, stride: 2, padding: 1));

        _stages = new Module<Tensor, Tensor>[stages.Length];
        var inputs = options.Width;
        for (var stage = 0; stage < stages.Length; stage++)
        {
            var planes = options.Width << stage;
            var blocks = new List<Module<Tensor, Tensor>>();
            for (var i = 0; i < stages[stage]; i++)
            {
                blocks.Add(block(inputs, planes, stride: stage > 0 && i == 0 ? 2 : 1, norm));
                inputs = planes * expansion;
            }

            register_module($"layer{stage + 1}", _stages[stage] = Sequential(blocks.ToArray()));
        }

        Initialize();
    }

    /// <summary>What it was built from.</summary>
    public ResNetOptions Options { get; }

    /// <inheritdoc/>
    public override BackboneOptions Description => Options;

    /// <summary>Images [n, 3, H, W], normalised → features [n, <see cref="Backbone.Features"/>].</summary>
    public override Tensor forward(Tensor input)
    {
        var x = bn1.NormalizeRelu(conv1.call(input));       // [n, width, H, W], or H/2, W/2
        if (maxpool is not null)
            x = maxpool.call(x);
        foreach (var stage in _stages)
            x = stage.call(x);                              // [n, features, H', W']
        return functional.adaptive_avg_pool2d(x, 1).flatten(1);
    }

    /// <summary>Convolutions: normal with variance 2 / fan-out; the rest keeps its layer's own start.</summary>
    private void Initialize()
    {
        foreach (var module in modules())
        {
            if (module is Conv2d conv)
                init.kaiming_normal_(conv.weight!, mode: init.FanInOut.FanOut, nonlinearity: init.NonlinearityType.ReLU);
            else if (module is IResidualBlock block && Options.ZeroInitResidual)
                block.StartAsIdentity();
        }
    }
}

/// <summary>A block whose output is its input plus something learned.</summary>
internal interface IResidualBlock
{
    /// <summary>Makes the learned part zero.</summary>
    void StartAsIdentity();
}

/// <summary>Two 3×3 convolutions: the block of ResNet-18 and 34.</summary>
internal sealed class BasicBlock : Module<Tensor, Tensor>, IResidualBlock
{
    internal const int Expansion = 1;
    private readonly Conv2d conv1;
    private readonly BatchNorm bn1;
    private readonly Conv2d conv2;
    private readonly BatchNorm bn2;
    private readonly Shortcut? downsample;

    private BasicBlock(int inputs, int planes, int stride, Normalization norm)
        : base(nameof(BasicBlock))
    {
        conv1 = Conv2d(inputs, planes, kernel_size: 3, stride: stride, padding: 1, bias: false);
        bn1 = norm.Layer(planes);
        conv2 = Conv2d(planes, planes, kernel_size: 3, stride: 1, padding: 1, bias: false);
        bn2 = norm.Layer(planes);
        downsample = Shortcut.IfNeeded(inputs, planes * Expansion, stride, norm);
        RegisterComponents();
    }

    internal static Module<Tensor, Tensor> Make(int inputs, int planes, int stride, Normalization norm) =>
        new BasicBlock(inputs, planes, stride, norm);

    public override Tensor forward(Tensor input)
    {
        var x = bn1.NormalizeRelu(conv1.call(input));
        return bn2.NormalizeAddRelu(conv2.call(x), downsample?.call(input) ?? input);
    }

    public void StartAsIdentity() => bn2.StartAtZero();
}

/// <summary>1×1 down, 3×3, 1×1 up to four times the planes: the block of ResNet-50.</summary>
internal sealed class Bottleneck : Module<Tensor, Tensor>, IResidualBlock
{
    internal const int Expansion = 4;
    private readonly Conv2d conv1;
    private readonly BatchNorm bn1;
    private readonly Conv2d conv2;
    private readonly BatchNorm bn2;
    private readonly Conv2d conv3;
    private readonly BatchNorm bn3;
    private readonly Shortcut? downsample;

    private Bottleneck(int inputs, int planes, int stride, Normalization norm)
        : base(nameof(Bottleneck))
    {
        conv1 = Conv2d(inputs, planes, kernel_size: 1, bias: false);
        bn1 = norm.Layer(planes);
        conv2 = Conv2d(planes, planes, kernel_size: 3, stride: stride, padding: 1, bias: false);
        bn2 = norm.Layer(planes);
        conv3 = Conv2d(planes, planes * Expansion, kernel_size: 1, bias: false);
        bn3 = norm.Layer(planes * Expansion);
        downsample = Shortcut.IfNeeded(inputs, planes * Expansion, stride, norm);
        RegisterComponents();
    }

    internal static Module<Tensor, Tensor> Make(int inputs, int planes, int stride, Normalization norm) =>
        new Bottleneck(inputs, planes, stride, norm);

    public override Tensor forward(Tensor input)
    {
        var x = bn1.NormalizeRelu(conv1.call(input));
        x = bn2.NormalizeRelu(conv2.call(x));
        return bn3.NormalizeAddRelu(conv3.call(x), downsample?.call(input) ?? input);
    }

    public void StartAsIdentity() => bn3.StartAtZero();
}

/// <summary>The 1×1 convolution that fits a block's input to its output where their shapes differ; torchvision's <c>downsample</c>.</summary>
internal sealed class Shortcut : Module<Tensor, Tensor>
{
    private readonly Conv2d _conv;
    private readonly BatchNorm _norm;

    private Shortcut(int inputs, int outputs, int stride, Normalization norm)
        : base(nameof(Shortcut))
    {
        _conv = Conv2d(inputs, outputs, kernel_size: 1, stride: stride, bias: false);
        _norm = norm.Layer(outputs);
        register_module("0", _conv);
        register_module("1", _norm);
    }

    internal static Shortcut? IfNeeded(int inputs, int outputs, int stride, Normalization norm) =>
        stride == 1 && inputs == outputs ? null : new Shortcut(inputs, outputs, stride, norm);

    public override Tensor forward(Tensor input) => _norm.call(_conv.call(input));
}

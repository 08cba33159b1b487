using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Models;

/// <summary>
/// A RegNetY without its classifier: images in, pooled features out. Names and initialisation are torchvision's <c>regnet_y_*</c>, so that an
/// export loads there. Source: Radosavovic et al. 2020; torchvision <c>models/regnet.py</c>.
/// </summary>
public sealed class RegNet : Backbone
{
    private readonly ConvNorm stem;
    private readonly Module<Tensor, Tensor> trunk_output;

    internal RegNet(RegNetOptions options, Normalization norm)
        : base("regnet")
    {
        Options = options;
        stem = new ConvNorm(3, options.StemWidth, kernel: 3, stride: options.SmallStem ? 1 : 2, groups: 1, norm);
        var width = options.StemWidth;
        var stages = new List<(string, Module<Tensor, Tensor>)>();
        foreach (var (number, stage) in options.Stages().Index())
        {
            var blocks = new List<(string, Module<Tensor, Tensor>)>();
            for (var i = 0; i < stage.Depth; i++)
            {
                blocks.Add(($"block{number + 1}-{i}", new RegNetBlock(width, stage, stride: i == 0 ? 2 : 1, norm)));
                width = stage.Width;
            }

            stages.Add(($"block{number + 1}", Sequential(blocks.ToArray())));
        }

        trunk_output = Sequential(stages.ToArray());
        Features = width;
        register_module(nameof(stem), stem);
        register_module(nameof(trunk_output), trunk_output);
        foreach (var module in modules())
        {
            if (module is Conv2d conv)
                init.kaiming_normal_(conv.weight!, mode: init.FanInOut.FanOut, nonlinearity: init.NonlinearityType.ReLU);
        }
    }

    /// <summary>What it was built from.</summary>
    public RegNetOptions Options { get; }

    /// <inheritdoc/>
    public override BackboneOptions Description => Options;

    /// <summary>Images [n, 3, H, W], normalised → features [n, <see cref="Backbone.Features"/>].</summary>
    public override Tensor forward(Tensor input) => adaptive_avg_pool2d(trunk_output.call(stem.Relu(input)), 1).flatten(1);
}

/// <summary>x + 1×1, grouped 3×3, squeeze and excitation, 1×1, then ReLU; where shapes differ, x passes a 1×1 convolution.</summary>
internal sealed class RegNetBlock : Module<Tensor, Tensor>
{
    private readonly ConvNorm? proj;
    private readonly Transform f;

    internal RegNetBlock(int inputs, RegNetStage stage, int stride, Normalization norm)
        : base(nameof(RegNetBlock))
    {
        if (stride != 1 || inputs != stage.Width)
            register_module(nameof(proj), proj = new ConvNorm(inputs, stage.Width, kernel: 1, stride, groups: 1, norm));
        register_module(nameof(f), f = new Transform(inputs, stage, stride, norm));
    }

    public override Tensor forward(Tensor input) => f.AddRelu(input, proj?.call(input) ?? input);

    private sealed class Transform : Module<Tensor, Tensor>
    {
        private const double SqueezeRatio = 0.25;                             // of the block's inputs
        private readonly ConvNorm a, b, c;
        private readonly SqueezeExcitation se;

        internal Transform(int inputs, RegNetStage stage, int stride, Normalization norm)
            : base(nameof(Transform))
        {
            register_module(nameof(a), a = new ConvNorm(inputs, stage.Width, kernel: 1, stride: 1, groups: 1, norm));
            register_module(nameof(b), b = new ConvNorm(stage.Width, stage.Width, kernel: 3, stride, stage.Width / stage.GroupWidth, norm));
            register_module(nameof(se), se = new SqueezeExcitation(stage.Width, (int)Math.Round(SqueezeRatio * inputs)));
            register_module(nameof(c), c = new ConvNorm(stage.Width, stage.Width, kernel: 1, stride: 1, groups: 1, norm));
        }

        public override Tensor forward(Tensor input) => c.call(Inner(input));

        internal Tensor AddRelu(Tensor input, Tensor residual) => c.AddRelu(Inner(input), residual);

        private Tensor Inner(Tensor input) => se.call(b.Relu(a.Relu(input)));
    }
}

/// <summary>Scales each channel by what a small perceptron makes of the means of all. Source: Hu et al. 2018; torchvision's names.</summary>
internal sealed class SqueezeExcitation : Module<Tensor, Tensor>
{
    private readonly Conv2d fc1;
    private readonly Conv2d fc2;

    internal SqueezeExcitation(int channels, int squeezed)
        : base(nameof(SqueezeExcitation))
    {
        fc1 = Conv2d(channels, squeezed, kernel_size: 1);
        fc2 = Conv2d(squeezed, channels, kernel_size: 1);
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => input * fc2.call(fc1.call(adaptive_avg_pool2d(input, 1)).relu()).sigmoid();
}

/// <summary>A convolution without bias and its normalisation, under the names of a Sequential.</summary>
internal sealed class ConvNorm : Module<Tensor, Tensor>
{
    private readonly Conv2d _conv;
    private readonly BatchNorm _norm;

    internal ConvNorm(int inputs, int outputs, int kernel, int stride, int groups, Normalization norm)
        : base(nameof(ConvNorm))
    {
        _conv = Conv2d(inputs, outputs, kernel_size: kernel, stride: stride, padding: kernel / 2, groups: groups, bias: false);
        _norm = norm.Layer(outputs);
        register_module("0", _conv);
        register_module("1", _norm);
    }

    public override Tensor forward(Tensor input) => _norm.call(_conv.call(input));

    internal Tensor Relu(Tensor input) => _norm.NormalizeRelu(_conv.call(input));

    internal Tensor AddRelu(Tensor input, Tensor residual) => _norm.NormalizeAddRelu(_conv.call(input), residual);
}

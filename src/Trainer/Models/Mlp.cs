using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DarkMatter.Trainer.Models;

/// <summary>What ends a perceptron.</summary>
public enum MlpEnd
{
    /// <summary>A linear layer with bias.</summary>
    Linear = 0,

    /// <summary>A linear layer without bias.</summary>
    NoBias = 1,

    /// <summary>A linear layer without bias, normalised, without scale or shift.</summary>
    Normalized = 2,
}

/// <summary>
/// Projector or predictor: linear layers with ReLU between them. A linear layer that is normalised has no bias: the mean takes it away.
/// </summary>
public sealed class Mlp : Module<Tensor, Tensor>
{
    private readonly List<(Linear Linear, BatchNorm? Norm)> _layers = [];

    /// <summary>Builds the layers; a child's name is its index, counting the ReLUs, so that the names are those of a Sequential.</summary>
    /// <param name="inputs">Dimensions that come in.</param>
    /// <param name="widths">Dimensions after each linear layer, one and more; the last is the embedding's.</param>
    /// <param name="norm">What every normalisation layer is made with.</param>
    /// <param name="end">How the last layer ends.</param>
    /// <param name="normalizeHidden">Whether the hidden layers are normalised before their ReLU.</param>
    public Mlp(int inputs, IReadOnlyList<int> widths, Normalization norm, MlpEnd end, bool normalizeHidden = true)
        : base(nameof(Mlp))
    {
        ArgumentOutOfRangeException.ThrowIfZero(widths.Count);
        var index = 0;
        for (var i = 0; i < widths.Count; i++)
        {
            var last = i == widths.Count - 1;
            var normalize = last ? end == MlpEnd.Normalized : normalizeHidden;
            var linear = Linear(i == 0 ? inputs : widths[i - 1], widths[i], hasBias: last ? end == MlpEnd.Linear : !normalize);
            var layer = normalize ? norm.Layer(widths[i], shift: !last, scale: !last) : null;
            register_module($"{index++}", linear);
            if (layer is not null)
                register_module($"{index++}", layer);
            index++;                                                          // the ReLU
            _layers.Add((linear, layer));
        }
    }

    /// <summary>[n, inputs] → [n, the last width], not normalised to a length.</summary>
    public override Tensor forward(Tensor input)
    {
        var x = input;
        foreach (var (i, (linear, norm)) in _layers.Index())
        {
            x = linear.call(x);
            if (i == _layers.Count - 1)
                return norm is null ? x : norm.call(x);
            x = norm is null ? x.relu() : norm.NormalizeRelu(x);
        }

        return x;
    }
}

using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DarkMatter.Trainer.Models;

/// <summary>
/// The small perceptron between features and loss: linear, normalisation, ReLU for each hidden layer, then linear and normalisation.
/// Source: SimCLR appendix B.9 and the authors' <c>model_util.projection_head</c>: no biases, the last normalisation has no shift.
/// </summary>
public sealed class Projector : Module<Tensor, Tensor>
{
    private readonly List<(Linear Linear, BatchNorm Norm)> _layers = [];

    /// <summary>Builds the layers; a child's name is its index, counting the ReLUs, so that the names are those of a Sequential.</summary>
    /// <param name="inputs">Dimensions that come in.</param>
    /// <param name="hidden">Dimensions of the hidden layers.</param>
    /// <param name="outputs">Dimensions of the embedding.</param>
    /// <param name="layers">Linear layers, 1 and above.</param>
    /// <param name="norm">What every normalisation layer is made with.</param>
    public Projector(int inputs, int hidden, int outputs, int layers, Normalization norm)
        : base(nameof(Projector))
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(layers, 1);
        for (var i = 0; i < layers; i++)
        {
            var last = i == layers - 1;
            var linear = Linear(i == 0 ? inputs : hidden, last ? outputs : hidden, hasBias: false);
            var normalize = norm.Layer(last ? outputs : hidden, shift: !last);
            register_module($"{3 * i}", linear);
            register_module($"{(3 * i) + 1}", normalize);
            _layers.Add((linear, normalize));
        }
    }

    /// <summary>Features [n, inputs] → embeddings [n, outputs], not normalised.</summary>
    public override Tensor forward(Tensor input)
    {
        var x = input;
        foreach (var (linear, norm) in _layers)
        {
            x = linear.call(x);
            x = linear == _layers[^1].Linear ? norm.call(x) : norm.NormalizeRelu(x);
        }

        return x;
    }
}

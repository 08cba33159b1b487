using System.Globalization;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DarkMatter.Trainer.Models;

/// <summary>A network without its classifier: images [n, 3, H, W], normalised, in; pooled features [n, <see cref="Features"/>] out.</summary>
public abstract class Backbone : Module<Tensor, Tensor>
{
    /// <summary>Names the module.</summary>
    protected Backbone(string name)
        : base(name)
    {
    }

    /// <summary>What it was built from.</summary>
    public abstract BackboneOptions Description { get; }

    /// <summary>Dimensions of the pooled features.</summary>
    public int Features { get; protected init; }
}

/// <summary>Which backbone, and how large: section <c>model</c> of a recipe.</summary>
public abstract record BackboneOptions
{
    /// <summary>As recipes and torchvision spell it.</summary>
    public abstract string Architecture { get; }

    /// <summary>Everything that is wrong with these options; empty when nothing is.</summary>
    public abstract IEnumerable<string> Problems();

    /// <summary>Builds and initialises it from torch's current random state.</summary>
    /// <param name="norm">What every normalisation layer is made with.</param>
    /// <exception cref="ArgumentException">The options have problems; all are named.</exception>
    public abstract Backbone Create(Normalization norm);

    /// <summary>What an export says about the network besides its name, in order.</summary>
    internal abstract IEnumerable<(string Key, object Value)> Facts();

    /// <summary>Lines of Python that build the same network, without weights, as <c>model</c> after <c>import torch, torchvision</c>; its classifier is left.</summary>
    internal abstract IEnumerable<string> PythonLines();

    /// <summary>The architecture and its numbers, in one line.</summary>
    public sealed override string ToString() =>
        string.Join(", ", [Architecture, .. Facts().Select(fact => string.Create(CultureInfo.InvariantCulture, $"{fact.Key} {fact.Value}"))]);

    /// <summary>The options, once they have been checked.</summary>
    protected T Checked<T>()
        where T : BackboneOptions => Problems().ToList() is { Count: > 0 } problems
        ? throw new ArgumentException(string.Join("; ", problems))
        : (T)this;
}

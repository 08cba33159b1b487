using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Methods;

/// <summary>What all methods share, so that the file of each is its own idea and nothing else: a backbone, named parts, precision.</summary>
public abstract class JointEmbedding : IMethod
{
    private readonly Parts _network;
    private readonly bool _seesDirections;

    /// <summary>Checks what can be checked before anything is built, and builds the backbone.</summary>
    /// <exception cref="ArgumentException">Options, views or batch do not fit the method; the message says why.</exception>
    protected JointEmbedding(MethodOptions options, MethodSetup setup)
    {
        if (options.Problems().ToList() is { Count: > 0 } problems)
            throw new ArgumentException(string.Join("; ", problems), nameof(options));
        if (options.ViewProblem(setup.ViewSizes) is { } problem)
            throw new ArgumentException(problem, nameof(setup));
        if (setup.Share.Total < 2)
            throw new ArgumentException($"{options.Name} needs at least 2 images in the global batch: one image has no other to differ from, and no statistics", nameof(setup));
        (Name, Views, Share, Norm) = (options.Name, setup.ViewSizes.Count, setup.Share, setup.Norm);
        _seesDirections = options.Radius is null;
        _network = new Parts(Name);
        Backbone = Part("backbone", setup.Model.Create(setup.Norm));
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Views { get; }

    /// <inheritdoc/>
    public Module Network => _network;

    /// <inheritdoc/>
    public Backbone Backbone { get; }

    /// <inheritdoc/>
    public bool Autocast { get; set; }

    /// <inheritdoc/>
    public virtual long UntrainedSteps => 0;

    /// <summary>This rank's part of the global batch.</summary>
    protected RankShare Share { get; }

    /// <summary>What normalisation layers are made with.</summary>
    protected Normalization Norm { get; }

    /// <inheritdoc/>
    public abstract MethodLoss Loss(Tensor x);

    /// <inheritdoc/>
    public virtual MethodLoss Loss(IReadOnlyList<Tensor> x) => x is [var only]
        ? Loss(only)
        : throw new ArgumentException($"{Name} compares views of one size; it got {x.Count} sizes", nameof(x));

    /// <inheritdoc/>
    public virtual ParameterUpdate UpdateOf(string parameter, long step) => ParameterUpdate.Scheduled;

    /// <inheritdoc/>
    public virtual void AfterUpdate(long step, long totalSteps)
    {
        // Without a second network or a memory there is nothing to do.
    }

    /// <inheritdoc/>
    public abstract Tensor Energy(Tensor x, Tensor y);

    /// <inheritdoc/>
    public virtual bool EnergyIsSymmetric => true;

    /// <summary>Frees the networks.</summary>
    public void Dispose()
    {
        _network.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives a part its name in checkpoints.</summary>
    protected T Part<T>(string name, T module)
        where T : Module
    {
        _network.register_module(name, module);
        return module;
    }

    /// <summary>x through networks one after the other, in the precision of training; the result is float32 or float64.</summary>
    protected Tensor Through(Tensor x, params ReadOnlySpan<Module<Tensor, Tensor>> networks)
    {
        using (Norm.Stack.Autocast(Autocast))
        {
            foreach (var network in networks)
                x = network.call(x);
        }

        return Widened(x);
    }

    /// <summary>View 1 and view 2 of this rank's images: [2n, …] → [n, …] twice.</summary>
    protected static (Tensor First, Tensor Second) Halves(Tensor x)
    {
        var n = x.shape[0] / 2;
        return (x.narrow(0, 0, n), x.narrow(0, n, n));
    }

    /// <summary>Rows of length 1.</summary>
    protected static Tensor Unit(Tensor z) => normalize(z, dim: 1);

    /// <summary>What <see cref="MethodLoss.Embeddings"/> wants of the views' embeddings: their directions, or their places where the loss sees these.</summary>
    protected Tensor Shown(params Tensor[] z)
    {
        using var _ = no_grad();
        var all = Widened(cat(z).detach());
        return _seesDirections ? Unit(all) : all;
    }

    private static Tensor Widened(Tensor x) => x.dtype == ScalarType.BFloat16 ? x.to(ScalarType.Float32) : x;

    private sealed class Parts(string name) : Module(name);
}

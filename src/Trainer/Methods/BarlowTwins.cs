using DarkMatter.Trainer.Models;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// Barlow Twins: the cross-correlation of the two views' embeddings becomes the identity. Views agree (diagonal) and dimensions do not repeat
/// each other (the rest). Source: Zbontar et al. 2021, algorithm 1, and the authors' <c>main.py</c>, which wins: variance biased, + eps.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · D embedding dimensions · C[i, j] correlation of dimension i of view 1 with j of view 2 · λ trade-off ·
/// f backbone · g projector. Symmetric in the views; a sign or an order of the dimensions that both views share changes nothing.
/// </remarks>
public sealed class BarlowTwins : JointEmbedding
{
    private readonly BarlowTwinsOptions _options;
    private readonly Mlp _g;
    private readonly BatchNorm _standardize;

    /// <summary>Builds the networks from torch's current random state.</summary>
    public BarlowTwins(BarlowTwinsOptions options, MethodSetup setup)
        : base(options, setup)
    {
        _options = options;
        _g = Part("projector", new Mlp(Backbone.Features, [options.ProjectorHidden, options.ProjectorHidden, options.ProjectorOutput], Norm, MlpEnd.NoBias));
        // Over the global batch always, whatever the other layers do: it is part of the loss.
        _standardize = Part("standardize", new Normalization(Norm.Stack, Share.Ranks).Layer(options.ProjectorOutput, shift: false, scale: false));
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x)                                 // [2n, 3, H, W]
    {
        var (x1, x2) = Halves(x);
        var (z1, z2) = (_standardize.call(Through(x1, Backbone, _g)), _standardize.call(Through(x2, Backbone, _g)));    // [n, D]
        var c = CrossCorrelation(z1, z2, Share);
        return new MethodLoss(Objective(c, _options.Lambda) * ((double)Share.Count / Share.Total), Shown(z1, z2));
    }

    /// <summary>C = z₁ᵀ z₂ / N over the global batch: [D, D], the same on every rank.</summary>
    /// <param name="z1">View 1 of this rank's images, each dimension standardised over the global batch: [n, D].</param>
    /// <param name="z2">View 2.</param>
    /// <param name="share">The global batch.</param>
    public static Tensor CrossCorrelation(Tensor z1, Tensor z2, RankShare share) =>
        GlobalSum.Of(z1.t().matmul(z2), share.Ranks) / share.Total;

    /// <summary>Σᵢ (1 − Cᵢᵢ)² + λ Σᵢ Σⱼ≠ᵢ Cᵢⱼ².</summary>
    public static Tensor Objective(Tensor c, double lambda)
    {
        var diagonal = c.diagonal();                                          // [D]
        var agreement = (diagonal - 1).square().sum();
        var redundancy = c.square().sum() - diagonal.square().sum();
        return agreement + (lambda * redundancy);
    }

    /// <summary>1 − cosine of the standardised embeddings: 0 for the same view. [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y)
    {
        var (u, v) = (_standardize.call(Through(x, Backbone, _g)), _standardize.call(Through(y, Backbone, _g)));
        return 1 - (Unit(u) * Unit(v)).sum(1);
    }
}

/// <summary>What Barlow Twins' head and loss look like; defaults of the authors' code.</summary>
public sealed record BarlowTwinsOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "barlow_twins";

    /// <summary>λ, the weight of the off-diagonal elements. Range above 0 to 10, default 0.0051; without it dimensions may all say the same.</summary>
    public double Lambda { get; init; } = 0.0051;

    /// <summary>Width of the projector's two hidden layers. Default 8192.</summary>
    public int ProjectorHidden { get; init; } = 8192;

    /// <summary>D, dimensions of the embedding: more is better here. Default 8192.</summary>
    public int ProjectorOutput { get; init; } = 8192;

    /// <summary>√D: every dimension is standardised.</summary>
    public override double? Radius => Math.Sqrt(ProjectorOutput);

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Lambda = given.Real("lambda", Lambda, 0, 10, aboveMin: true),
        ProjectorHidden = given.Count("projector_hidden", ProjectorHidden, 2, 16384),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
    };

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new BarlowTwins(this, setup);
}

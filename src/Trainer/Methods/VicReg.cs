using DarkMatter.Trainer.Models;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// VICReg: views agree (invariance), every dimension keeps a spread (variance), no dimension repeats another (covariance). Source: Bardes et
/// al. 2021, algorithm 1, and the authors' <c>main_vicreg.py</c>, which wins: the hinge is averaged over the two views.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · D embedding dimensions · λ, μ, ν weights of the three terms · f backbone · g projector. Variance and
/// covariance do not move with a shift that all embeddings of a view share.
/// </remarks>
public sealed class VicReg : JointEmbedding
{
    private const double Eps = 1e-4;
    private readonly VicRegOptions _options;
    private readonly Mlp _g;

    /// <summary>Builds the networks from torch's current random state.</summary>
    public VicReg(VicRegOptions options, MethodSetup setup)
        : base(options, setup)
    {
        _options = options;
        _g = Part("projector", new Mlp(Backbone.Features, [options.ProjectorHidden, options.ProjectorHidden, options.ProjectorOutput], Norm, MlpEnd.NoBias));
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x)                                 // [2n, 3, H, W]
    {
        var (x1, x2) = Halves(x);
        var (z1, z2) = (Through(x1, Backbone, _g), Through(x2, Backbone, _g));    // [n, D]
        return new MethodLoss(Objective(z1, z2, Share, _options), Shown(z1, z2));
    }

    /// <summary>λ s(z₁, z₂) + μ [v(z₁) + v(z₂)] + ν [c(z₁) + c(z₂)]: this rank's summand.</summary>
    /// <param name="z1">View 1 of this rank's images: [n, D].</param>
    /// <param name="z2">View 2.</param>
    /// <param name="share">The global batch, over which variance and covariance are.</param>
    /// <param name="o">λ, μ, ν.</param>
    public static Tensor Objective(Tensor z1, Tensor z2, RankShare share, VicRegOptions o)
    {
        var invariance = (z1 - z2).square().sum() / ((double)share.Total * z1.shape[1]);
        var (all1, all2) = (Gather.Rows(z1, share.Ranks, share.Counts), Gather.Rows(z2, share.Ranks, share.Counts));   // [N, D]
        var regularization = (o.Variance * (Variance(all1) + Variance(all2))) + (o.Covariance * (Covariance(all1) + Covariance(all2)));
        return (o.Invariance * invariance) + (regularization * ((double)share.Count / share.Total));
    }

    /// <summary>½ · mean over dimensions of max(0, 1 − √(var + 1e-4)); half, since there are two views.</summary>
    public static Tensor Variance(Tensor z) => (1 - (z.var(0) + Eps).sqrt()).relu().mean() / 2;

    /// <summary>Σ over pairs of different dimensions of their covariance², / D.</summary>
    public static Tensor Covariance(Tensor z)                                 // [N, D]
    {
        var centred = z - z.mean([0], keepdim: true);
        var c = centred.t().matmul(centred) / (z.shape[0] - 1);               // [D, D]
        return (c - c.diagonal().diag()).square().sum() / z.shape[1];         // a difference of two sums would drown the rest where variances are large
    }

    /// <summary>‖g(f(x)) − g(f(y))‖² / D, as the invariance term measures it: 0 for the same view. [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y) => (Through(x, Backbone, _g) - Through(y, Backbone, _g)).square().mean([1]);
}

/// <summary>What VICReg's head and loss look like; defaults of the authors' code.</summary>
public sealed record VicRegOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "vicreg";

    /// <summary>λ, the weight of the invariance. Default 25.</summary>
    public double Invariance { get; init; } = 25;

    /// <summary>μ, the weight of the variance; without it everything collapses. Default 25.</summary>
    public double Variance { get; init; } = 25;

    /// <summary>ν, the weight of the covariance. Default 1; 100 together with a variance of 100 is a control: nothing is left for the invariance.</summary>
    public double Covariance { get; init; } = 1;

    /// <summary>Width of the projector's two hidden layers. Default 8192.</summary>
    public int ProjectorHidden { get; init; } = 8192;

    /// <summary>D, dimensions of the embedding. Default 8192.</summary>
    public int ProjectorOutput { get; init; } = 8192;

    /// <summary>√D: the hinge wants a standard deviation of 1 in every dimension.</summary>
    public override double? Radius => Math.Sqrt(ProjectorOutput);

    /// <inheritdoc/>
    public override IEnumerable<string> Problems()
    {
        foreach (var problem in base.Problems())
            yield return problem;
        if (Invariance == 0 && Variance == 0 && Covariance == 0)
            yield return "method.invariance, method.variance, method.covariance: 0, 0 and 0 leave nothing to learn; set one of them in (0, 1000]";
    }

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Invariance = given.Real("invariance", Invariance, 0, 1000),
        Variance = given.Real("variance", Variance, 0, 1000),
        Covariance = given.Real("covariance", Covariance, 0, 1000),
        ProjectorHidden = given.Count("projector_hidden", ProjectorHidden, 2, 16384),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
    };

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new VicReg(this, setup);
}

using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// SimSiam: one network predicts, from one view, what it says of the other view; stopping the gradient there is all that prevents collapse.
/// Source: Chen and He 2020, algorithm 1, and the authors' <c>simsiam/builder.py</c>, which wins where they differ.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · f backbone · g projector, its last normalisation without scale and shift · h predictor · sg
/// stop-gradient · D(p, z) = −cos(p, z). The lengths of p and z do not matter; −1 for all is the collapse.
/// </remarks>
public sealed class SimSiam : JointEmbedding
{
    private readonly SimSiamOptions _options;
    private readonly Mlp _g, _h;

    /// <summary>Builds the networks from torch's current random state.</summary>
    public SimSiam(SimSiamOptions options, MethodSetup setup)
        : base(options, setup)
    {
        _options = options;
        _g = Part("projector", new Mlp(Backbone.Features, [options.ProjectorOutput, options.ProjectorOutput, options.ProjectorOutput], Norm, MlpEnd.Normalized));
        _h = Part("predictor", new Mlp(options.ProjectorOutput, [options.PredictorHidden, options.ProjectorOutput], Norm, MlpEnd.Linear));
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x)                                 // [2n, 3, H, W]
    {
        var (x1, x2) = Halves(x);
        var (z1, z2) = (Through(x1, Backbone, _g), Through(x2, Backbone, _g));    // [n, D]
        var (p1, p2) = (Through(z1, _h), Through(z2, _h));                    // [n, D]
        var loss = (Cost(p1, z2).sum() / 2) + (Cost(p2, z1).sum() / 2);
        return new MethodLoss(loss / Share.Total, Shown(z1, z2));
    }

    /// <summary>−cos(p, sg(z)) for each row: [n].</summary>
    public static Tensor D(Tensor p, Tensor z) => -Cosine(p, z.detach());

    /// <summary>The predictor's learning rate does not decay.</summary>
    public override ParameterUpdate UpdateOf(string parameter, long step) =>
        parameter.StartsWith("predictor.", StringComparison.Ordinal) ? ParameterUpdate.ConstantRate : ParameterUpdate.Scheduled;

    /// <summary>1 + the mean of both directions' D: 0 where each view predicts the other exactly. [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y)
    {
        var (u, v) = (Through(x, Backbone, _g), Through(y, Backbone, _g));
        return 1 + ((D(Through(u, _h), v) + D(Through(v, _h), u)) / 2);
    }

    private Tensor Cost(Tensor p, Tensor z) => _options.StopGradient ? D(p, z) : -Cosine(p, z);

    private static Tensor Cosine(Tensor p, Tensor z) => (Unit(p) * Unit(z)).sum(1);
}

/// <summary>What SimSiam's heads look like; defaults of the authors' code.</summary>
public sealed record SimSiamOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "simsiam";

    /// <summary>D, the width of all three layers of the projector. Default 2048.</summary>
    public int ProjectorOutput { get; init; } = 2048;

    /// <summary>The predictor's bottleneck, a quarter of D. Default 512.</summary>
    public int PredictorHidden { get; init; } = 512;

    /// <summary>Whether the gradient stops at z. Default true; false is a control: it collapses to a point, with a loss of −1.</summary>
    public bool StopGradient { get; init; } = true;

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) =>
        [new(-1, "−1: every view predicts the other without fault, as all do once embeddings are one point or line", Plateau.PredictedRemedy, Collapse: true)];

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
        PredictorHidden = given.Count("predictor_hidden", PredictorHidden, 1, 16384),
        StopGradient = given.Switch("stop_gradient", StopGradient),
    };

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new SimSiam(this, setup);
}

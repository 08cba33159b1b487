using DarkMatter.Trainer.Models;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// BYOL: the online network predicts, from one view, what a slow copy of itself says of the other view. No negatives. Source: Grill et al.
/// 2020, algorithm 1, and the authors' <c>byol_experiment.py</c>, which wins where they differ.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · f backbone · g projector · q predictor, on the online side only · f', g' the target, an average of
/// f, g with momentum m, which normalises with batch statistics as they do · sg stop-gradient. The lengths of q and g' do not matter.
/// </remarks>
public sealed class Byol : JointEmbedding
{
    private readonly ByolOptions _options;
    private readonly Mlp _g, _q, _targetG;
    private readonly Backbone _targetF;

    /// <summary>Builds the networks from torch's current random state; the target starts as a copy.</summary>
    public Byol(ByolOptions options, MethodSetup setup)
        : base(options, setup)
    {
        _options = options;
        Mlp Head(int inputs) => new(inputs, [options.Hidden, options.ProjectorOutput], Norm, MlpEnd.NoBias);
        _g = Part("projector", Head(Backbone.Features));
        _q = Part("predictor", Head(options.ProjectorOutput));
        _targetF = Part("target_backbone", MovingAverage.Begin(setup.Model.Create(setup.Norm), Backbone));
        _targetG = Part("target_projector", MovingAverage.Begin(Head(Backbone.Features), _g));
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x)                                 // [2n, 3, H, W]
    {
        var (x1, x2) = Halves(x);
        var (p1, p2) = (Through(x1, Backbone, _g, _q), Through(x2, Backbone, _g, _q));    // [n, D]
        var (t1, t2) = (Target(x1), Target(x2));                              // [n, D], sg
        var loss = Regression(p1, t2).sum() + Regression(p2, t1).sum();
        return new MethodLoss(loss / Share.Total, Shown(p1, p2));
    }

    /// <summary>‖p/‖p‖ − t/‖t‖‖² = 2 − 2 cos(p, t), for each row: [n].</summary>
    public static Tensor Regression(Tensor p, Tensor t) => 2 - (2 * (Unit(p) * Unit(t)).sum(1));

    /// <summary>The target follows, ever more slowly: m = 1 − (1 − m₀) · (cos(πk/K) + 1)/2.</summary>
    public override void AfterUpdate(long step, long totalSteps)
    {
        var m = MovingAverage.Cosine(_options.Momentum, step - 1, totalSteps);
        MovingAverage.Follow(_targetF, Backbone, m);
        MovingAverage.Follow(_targetG, _g, m);
    }

    /// <summary>The mean of both directions' regression: 0 where the online network predicts the target exactly. [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y) =>
        (Regression(Through(x, Backbone, _g, _q), Target(y)) + Regression(Through(y, Backbone, _g, _q), Target(x))) / 2;

    private Tensor Target(Tensor x)
    {
        if (!_options.StopGradient)
            return Through(x, Backbone, _g);                                  // the control: the online network is its own target
        using var _ = no_grad();
        return Through(x, _targetF, _targetG);
    }
}

/// <summary>What BYOL's heads and target look like; defaults of the authors' code.</summary>
public sealed record ByolOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "byol";

    /// <summary>m₀, the target's momentum at the start; it ends at 1. Range 0 to 1, default 0.996 (1,000 epochs; 0.99 for 300 and fewer).</summary>
    public double Momentum { get; init; } = 0.996;

    /// <summary>Whether the target is a slow copy that gradients do not reach. Default true; false is a control: it collapses to a point.</summary>
    public bool StopGradient { get; init; } = true;

    /// <summary>Width of the hidden layer of projector and predictor. Default 4096.</summary>
    public int Hidden { get; init; } = 4096;

    /// <summary>D, dimensions of projection and prediction. Default 256.</summary>
    public int ProjectorOutput { get; init; } = 256;

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) =>
    [
        new(0, "0: every view predicts the other without fault, as all do once embeddings are one point or line", Plateau.PredictedRemedy, Collapse: true)
        {
            Tolerance = 0.02,                                                 // of 4, the loss of directions that have nothing in common
        },
    ];

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Momentum = given.Real("momentum", Momentum, 0, 1),
        Hidden = given.Count("hidden", Hidden, 2, 16384),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
        StopGradient = given.Switch("stop_gradient", StopGradient),
    };

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new Byol(this, setup);
}

using DarkMatter.Trainer.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// MoCo v3: the prediction from one view must pick, among the momentum keys of the whole global batch, that of the other view of its image.
/// Source: Chen, Xie and He 2021, algorithm 1, and the authors' <c>moco/builder.py</c>, which wins where they differ.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · D embedding dimensions · τ temperature · f backbone · g projector · h predictor · f', g' the key
/// encoder, an average of f, g with momentum m. Turning all embeddings together, or exchanging the views, changes nothing.
/// </remarks>
public sealed class MoCoV3 : JointEmbedding
{
    private readonly MoCoV3Options _options;
    private readonly Mlp _g, _h, _keyG;
    private readonly Backbone _keyF;

    /// <summary>Builds the networks from torch's current random state; the key encoder starts as a copy.</summary>
    public MoCoV3(MoCoV3Options options, MethodSetup setup)
        : base(options, setup)
    {
        _options = options;
        Mlp Projector() => new(Backbone.Features, [options.Hidden, options.ProjectorOutput], Norm, MlpEnd.Normalized);
        _g = Part("projector", Projector());
        _h = Part("predictor", new Mlp(options.ProjectorOutput, [options.Hidden, options.ProjectorOutput], Norm, MlpEnd.NoBias));
        _keyF = Part("key_backbone", MovingAverage.Begin(setup.Model.Create(setup.Norm), Backbone));
        _keyG = Part("key_projector", MovingAverage.Begin(Projector(), _g));
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x)                                 // [2n, 3, H, W]
    {
        var (x1, x2) = Halves(x);
        var (q1, q2) = (Query(x1), Query(x2));                                // [n, D], unit
        var (k1, k2) = (Key(x1), Key(x2));                                    // [n, D], unit, without gradient
        return new MethodLoss(Contrast(q1, k2, Share, _options.Temperature) + Contrast(q2, k1, Share, _options.Temperature), Shown(q1, q2));
    }

    /// <summary>2τ · mean over images of −log softmax(q · k / τ) at the image's own key: this rank's summand.</summary>
    /// <param name="q">Unit queries of this rank's images: [n, D].</param>
    /// <param name="k">Unit keys of the same images: [n, D].</param>
    /// <param name="share">The global batch.</param>
    /// <param name="temperature">τ.</param>
    public static Tensor Contrast(Tensor q, Tensor k, RankShare share, double temperature)
    {
        var keys = share.Ranks.World == 1 ? k : Gather.Rows(k.detach(), share.Ranks, share.Counts);    // [N, D]
        var logits = q.matmul(keys.t()) / temperature;                        // [n, N]
        var own = arange(share.Offset, share.Offset + share.Count, dtype: ScalarType.Int64, device: q.device);
        return cross_entropy(logits, own, reduction: Reduction.Sum) * (2 * temperature / share.Total);
    }

    /// <summary>The key encoder follows: what the authors do before a step's keys is done here after the step before.</summary>
    public override void AfterUpdate(long step, long totalSteps)
    {
        var m = MovingAverage.Cosine(_options.Momentum, step, totalSteps);
        MovingAverage.Follow(_keyF, Backbone, m);
        MovingAverage.Follow(_keyG, _g, m);
    }

    /// <summary>1 − the mean cosine of each view's prediction and the other's key: [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y) => 1 - (((Query(x) * Key(y)).sum(1) + (Query(y) * Key(x)).sum(1)) / 2);

    private Tensor Query(Tensor x) => Unit(Through(x, Backbone, _g, _h));

    private Tensor Key(Tensor x)
    {
        using var _ = no_grad();
        return Unit(Through(x, _keyF, _keyG));
    }
}

/// <summary>What MoCo v3's heads, keys and loss look like; defaults of the authors' code for ResNet-50.</summary>
public sealed record MoCoV3Options : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "moco_v3";

    /// <summary>τ. Range above 0 to 10, default 1.0.</summary>
    public double Temperature { get; init; } = 1.0;

    /// <summary>m at the start; it ends at 1. Range 0 to 1, default 0.99 (100 and 300 epochs; 0.996 for 1,000).</summary>
    public double Momentum { get; init; } = 0.99;

    /// <summary>Width of the hidden layers. Default 4096.</summary>
    public int Hidden { get; init; } = 4096;

    /// <summary>D, dimensions of queries and keys. Default 256.</summary>
    public int ProjectorOutput { get; init; } = 256;

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) => [new(4 * Temperature * Math.Log(batch), "4τ ln N: every key is as likely as the image's own", Plateau.ChanceRemedy, Collapse: true)];

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Temperature = given.Real("temperature", Temperature, 0, 10, aboveMin: true),
        Momentum = given.Real("momentum", Momentum, 0, 1),
        Hidden = given.Count("hidden", Hidden, 2, 16384),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
    };

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new MoCoV3(this, setup);
}

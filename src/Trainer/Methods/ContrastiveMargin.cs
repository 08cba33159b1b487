using DarkMatter.Trainer.Models;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// The Siamese network's contrastive loss: pairs that belong together attract, others repel until they are a margin apart. Source: Hadsell,
/// Chopra and LeCun 2006, equation 4; without labels, a pair belongs together when it is two views of one image.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · D embedding dimensions · m margin · f backbone · g projector. The N pairs that belong together and the
/// N (N − 1) that do not count half each. Moving or turning all embeddings together changes nothing.
/// </remarks>
public sealed class ContrastiveMargin : JointEmbedding
{
    private readonly ContrastiveMarginOptions _options;
    private readonly Mlp _g;

    /// <summary>Builds the networks from torch's current random state.</summary>
    public ContrastiveMargin(ContrastiveMarginOptions options, MethodSetup setup)
        : base(options, setup)
    {
        _options = options;
        _g = Part("projector", new Mlp(Backbone.Features, [options.ProjectorOutput], Norm, MlpEnd.Linear));
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x)                                 // [2n, 3, H, W]
    {
        var (x1, x2) = Halves(x);
        var (z1, z2) = (Through(x1, Backbone, _g), Through(x2, Backbone, _g));    // [n, D]
        return new MethodLoss(Objective(z1, Gather.Rows(z2, Share.Ranks, Share.Counts), Share, _options.Margin), Shown(z1, z2));
    }

    /// <summary>½ · mean over pairs of one image of d² + ½ · mean over pairs of two images of max(0, m − d)²: this rank's summand.</summary>
    /// <param name="z1">View 1 of this rank's images: [n, D].</param>
    /// <param name="all2">View 2 of all ranks' images: [N, D].</param>
    /// <param name="share">Which rows are this rank's.</param>
    /// <param name="margin">m.</param>
    public static Tensor Objective(Tensor z1, Tensor all2, RankShare share, double margin)
    {
        const double Eps = 1e-12;                                             // the root's slope at 0 is infinite
        var (n, total) = (share.Count, (double)share.Total);
        // |a|² + |b|² − 2ab loses in float32 what is near compared with its length: views of one image are subtracted, and what all share is taken away.
        var same = (z1 - all2.narrow(0, share.Offset, n)).square().sum(1);    // [n]
        var centre = all2.detach().mean([0], keepdim: true);                  // [1, D]
        var (a, b) = (z1 - centre, all2 - centre);
        var squared = (a.square().sum(1, keepdim: true) + b.square().sum(1) - (2 * a.matmul(b.t()))).clamp_min(0);    // [n, N]
        var apart = (margin - (squared + Eps).sqrt()).relu().square();        // [n, N]
        var others = apart.sum() - apart.narrow(1, share.Offset, n).diagonal().sum();
        return (same.sum() / (2 * total)) + (others / (2 * total * (total - 1)));
    }

    /// <summary>½ ‖g(f(x)) − g(f(y))‖²: 0 for the same view. [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y) => (Through(x, Backbone, _g) - Through(y, Backbone, _g)).square().sum(1) / 2;
}

/// <summary>What the contrastive margin loss and its embedding look like.</summary>
public sealed record ContrastiveMarginOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "contrastive_margin";

    /// <summary>m. Range above 0 to 1000, default 1.</summary>
    public double Margin { get; init; } = 1;

    /// <summary>D. Default 128.</summary>
    public int ProjectorOutput { get; init; } = 128;

    /// <summary>m/√2: points so far from their mean, in directions of their own, are m apart.</summary>
    public override double? Radius => Margin / Math.Sqrt(2);

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) =>
    [
        new(Margin * Margin / 2, "m²/2: images that differ are as near as views that match", "lower method.margin to what the embeddings' distances can reach, or raise optimizer.lr", Collapse: true)
        {
            OnlyDrawnTogether = true,
        },
    ];

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Margin = given.Real("margin", Margin, 0, 1000, aboveMin: true),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
    };

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new ContrastiveMargin(this, setup);
}

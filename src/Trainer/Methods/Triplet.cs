using DarkMatter.Trainer.Models;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// Triplet loss on unit vectors: an anchor is nearer to its positive than to a negative, by a margin. Every anchor-positive pair, with a
/// semi-hard negative: the nearest that is farther away than the positive; where none is, the farthest. Source: Schroff et al. 2015 (FaceNet),
/// section 3.2; without labels, a positive is the other view of the image and negatives are all other images of the global batch.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · D embedding dimensions · α margin · f backbone · g projector. Turning all embeddings together changes
/// nothing. Hardest negatives instead of semi-hard ones collapse to a point early in training: that is the option's use, as a control.
/// </remarks>
public sealed class Triplet : JointEmbedding
{
    private readonly TripletOptions _options;
    private readonly Mlp _g;

    /// <summary>Builds the networks from torch's current random state.</summary>
    public Triplet(TripletOptions options, MethodSetup setup)
        : base(options, setup)
    {
        _options = options;
        _g = Part("projector", new Mlp(Backbone.Features, [options.ProjectorOutput], Norm, MlpEnd.Linear));
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x)                                 // [2n, 3, H, W]
    {
        var z = Embed(x);                                                     // [2n, D]
        var all = Gather.Rows(z, Share.Ranks, Share.Counts.Select(n => 2 * n).ToArray());    // [2N, D]
        return new MethodLoss(Objective(z, all, Share, _options.Margin, _options.HardestNegative), z.detach());
    }

    /// <summary>Σ over this rank's anchors of max(0, d(a, p) − d(a, n) + α), divided by the 2N anchors of all ranks; d is the squared distance.</summary>
    /// <param name="z">Unit anchors [2n, D]: view 1 of this rank's images, then view 2.</param>
    /// <param name="all">Unit candidates [2N, D]: every rank's anchors in rank order.</param>
    /// <param name="share">Which rows are this rank's.</param>
    /// <param name="margin">α.</param>
    /// <param name="hardest">The nearest negative instead of a semi-hard one.</param>
    public static Tensor Objective(Tensor z, Tensor all, RankShare share, double margin, bool hardest)
    {
        var n = share.Count;
        var i = arange(2 * n, device: z.device);                              // int64
        var self = (i + (2 * share.Offset)).unsqueeze(1);                     // [2n, 1] where the anchor stands among the candidates
        var positive = (((i + n) % (2 * n)) + (2 * share.Offset)).unsqueeze(1);    // [2n, 1] where its image's other view stands
        var distance = 2 - (2 * z.matmul(all.t()));                           // [2n, 2N] ‖a − b‖² of unit vectors
        var toPositive = distance.gather(1, positive);                        // [2n, 1]
        var toNegative = distance.gather(1, Negative(distance.detach(), toPositive.detach(), cat([self, positive], 1), hardest));
        return (toPositive - toNegative + margin).relu().sum() / (2 * share.Total);
    }

    /// <summary>1/4 of the squared distance of the unit embeddings: 0 for the same view, 1 for opposite ones. [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y) => (Embed(x) - Embed(y)).square().sum(1) / 4;

    /// <summary>Which candidate is each anchor's negative: [2n, 1].</summary>
    private static Tensor Negative(Tensor distance, Tensor toPositive, Tensor own, bool hardest)
    {
        const double Far = 5;                                                 // more than any squared distance of unit vectors
        using var _ = no_grad();
        var others = distance.scatter(1, own, full(own.shape, Far, dtype: distance.dtype, device: distance.device));    // [2n, 2N]
        if (hardest)
            return others.argmin(1, keepdim: true);
        var beyond = others.masked_fill(others.le(toPositive), Far);
        var (nearest, place) = beyond.min(1, keepdim: true);                  // [2n, 1]
        var farthest = others.masked_fill(others.ge(Far), -1).argmax(1, keepdim: true);
        return place.where(nearest.lt(Far), farthest);
    }

    private Tensor Embed(Tensor x) => Unit(Through(x, Backbone, _g));
}

/// <summary>What the triplet loss and its embedding look like; defaults of the paper.</summary>
public sealed record TripletOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "triplet";

    /// <summary>α. Range above 0 to 4, default 0.2.</summary>
    public double Margin { get; init; } = 0.2;

    /// <summary>D. Default 128.</summary>
    public int ProjectorOutput { get; init; } = 128;

    /// <summary>Take the nearest negative of all. Default false: it collapses.</summary>
    public bool HardestNegative { get; init; }

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) =>
    [
        // Semi-hard negatives are by choice a little farther than positives: a healthy loss begins just below α.
        new(Margin, "α: negatives are as near as positives, as once embeddings are one point", "take semi-hard negatives (method.hardest_negative: false), lower optimizer.lr", Collapse: true)
        {
            OnlyDrawnTogether = !HardestNegative,
        },
    ];

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Margin = given.Real("margin", Margin, 0, 4, aboveMin: true),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
        HardestNegative = given.Switch("hardest_negative", HardestNegative),
    };

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new Triplet(this, setup);
}

using DarkMatter.Trainer.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// SimCLR: two views of one image attract, all other images of the global batch repel. Source: Chen et al. 2020, algorithm 1, and the
/// authors' <c>objective.py</c>. They add up both directions; here, as in the paper, it is the mean over the 2N anchors.
/// </summary>
/// <remarks>n images on this rank · N on all ranks · D embedding dimensions · τ temperature · f backbone · g projector.</remarks>
public sealed class SimClr : JointEmbedding
{
    private readonly SimClrOptions _options;
    private readonly Projector _g;

    /// <summary>Builds the networks from torch's current random state.</summary>
    public SimClr(SimClrOptions options, MethodSetup setup)
        : base(options, setup)
    {
        _options = options;
        var hidden = options.ProjectorHidden == 0 ? Backbone.Features : options.ProjectorHidden;
        _g = Part("projector", new Projector(Backbone.Features, hidden, options.ProjectorOutput, options.ProjectorLayers, Norm));
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x)                                        // [2n, 3, H, W]
    {
        var z = Embed(x);                                                     // [2n, D]
        var all = Gather.Rows(z, Share.Ranks, Share.Counts.Select(n => 2 * n).ToArray());   // [2N, D]
        return new MethodLoss(NtXent(z, all, Share, _options.Temperature), z.detach());
    }

    /// <summary>
    /// NT-Xent of this rank's anchors against everyone's candidates: −log of the softmax that the other view of the same image gets
    /// among all 2N − 1 embeddings that are not the anchor itself. The ranks' results sum to the mean over all 2N anchors.
    /// </summary>
    /// <param name="z">Unit anchors [2n, D]: view 1 of this rank's images, then view 2.</param>
    /// <param name="all">Unit candidates [2N, D]: every rank's anchors in rank order, this rank's among them.</param>
    /// <param name="share">Which rows are this rank's.</param>
    /// <param name="temperature">τ.</param>
    public static Tensor NtXent(Tensor z, Tensor all, RankShare share, double temperature)
    {
        var n = share.Count;
        var i = arange(2 * n, device: z.device);                              // int64
        var self = (i + (2 * share.Offset)).unsqueeze(1);                     // [2n, 1] where anchor i stands among the candidates
        var positive = ((i + n) % (2 * n)) + (2 * share.Offset);              // [2n]    where the other view of its image stands

        var similarity = z.matmul(all.t()) / temperature;                     // [2n, 2N]
        similarity = similarity.scatter(1, self, full([2 * n, 1], double.NegativeInfinity, dtype: z.dtype, device: z.device));
        return cross_entropy(similarity, positive, reduction: Reduction.Sum) / (2 * share.Total);
    }

    /// <summary>1 − cos(g(f(x)), g(f(y))): 0 for the same embedding, 2 for opposite ones. [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y) => 1 - (Embed(x) * Embed(y)).sum(1);

    private Tensor Embed(Tensor x) => Unit(Through(x, Backbone, _g));
}

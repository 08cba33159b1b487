using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// SimCLR: two views of one image attract, all other images of the global batch repel. Source: Chen et al. 2020, algorithm 1, and the
/// authors' <c>objective.py</c>. They add up both directions; here, as in the paper, it is the mean over the 2N anchors.
/// </summary>
/// <remarks>n images on this rank · N on all ranks · D embedding dimensions · τ temperature · f backbone · g projector.</remarks>
public sealed class SimClr : IMethod
{
    private readonly SimClrOptions _options;
    private readonly RankShare _share;
    private readonly ITorchStack _stack;
    private readonly Projector _g;
    private readonly SimClrNetwork _network;

    /// <summary>Builds the networks from torch's current random state.</summary>
    /// <param name="options">Temperature and projector.</param>
    /// <param name="model">The backbone.</param>
    /// <param name="norm">What normalisation layers are made with.</param>
    /// <param name="share">This rank's part of the global batch.</param>
    /// <param name="autocast">Whether the networks compute in bfloat16; the loss is float32 (or float64) either way.</param>
    /// <exception cref="ArgumentException">The options have problems, or the global batch is a single image, which has no negatives.</exception>
    public SimClr(SimClrOptions options, ResNetOptions model, Normalization norm, RankShare share, bool autocast)
    {
        if (options.Problems().ToList() is { Count: > 0 } problems)
            throw new ArgumentException(string.Join("; ", problems), nameof(options));
        if (share.Total < 2)
            throw new ArgumentException("SimCLR needs at least 2 images in the global batch: with one there are no negatives and the loss is 0.", nameof(share));
        (_options, _share, Autocast, _stack) = (options, share, autocast, norm.Stack);
        Backbone = new ResNet(model, norm);
        var hidden = options.ProjectorHidden == 0 ? Backbone.Features : options.ProjectorHidden;
        _g = new Projector(Backbone.Features, hidden, options.ProjectorOutput, options.ProjectorLayers, norm);
        _network = new SimClrNetwork(Backbone, _g);
    }

    /// <inheritdoc/>
    public string Name => "simclr";

    /// <inheritdoc/>
    public bool Autocast { get; set; }

    /// <inheritdoc/>
    public int Views => 2;

    /// <inheritdoc/>
    public nn.Module Network => _network;

    /// <inheritdoc/>
    public ResNet Backbone { get; }

    /// <inheritdoc/>
    public MethodLoss Loss(Tensor x)                                          // [2n, 3, H, W]
    {
        var z = Embed(x);                                                     // [2n, D]
        var all = Gather.Rows(z, _share.Ranks, _share.Counts.Select(n => 2 * n).ToArray());   // [2N, D]
        return new MethodLoss(NtXent(z, all, _share, _options.Temperature), z.detach());
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

    /// <inheritdoc/>
    public void AfterUpdate(long step, long totalSteps)
    {
        // SimCLR has no second network to follow the first.
    }

    /// <summary>1 − cos(g(f(x)), g(f(y))): 0 for the same embedding, 2 for opposite ones. [n].</summary>
    public Tensor Energy(Tensor x, Tensor y) => 1 - (Embed(x) * Embed(y)).sum(1);

    /// <summary>Frees the networks.</summary>
    public void Dispose() => _network.Dispose();

    private Tensor Embed(Tensor x)
    {
        Tensor z;
        using (_stack.Autocast(Autocast))
            z = _g.call(Backbone.call(x));
        return normalize(z.dtype == ScalarType.BFloat16 ? z.to(ScalarType.Float32) : z, dim: 1);
    }

    /// <summary>Gives the parts their names in a checkpoint.</summary>
    private sealed class SimClrNetwork : nn.Module
    {
        internal SimClrNetwork(ResNet backbone, Projector projector)
            : base("simclr")
        {
            register_module(nameof(backbone), backbone);
            register_module(nameof(projector), projector);
        }
    }
}

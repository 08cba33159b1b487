using DarkMatter.Data;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// MoCo v1 and v2: a query must pick the key of its image's other view among the keys of the last K images, which a queue remembers. Source:
/// He et al. 2019, algorithm 1; Chen et al. 2020 (v2: a projector of two layers, blur, cosine); the authors' <c>moco/builder.py</c>.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · K queue · D embedding dimensions · τ temperature · f backbone · g projector · f', g' the key encoder, an
/// average of f, g with momentum m. Keys are normalised in groups of images that a permutation of the global batch deals anew at every step, so
/// that statistics do not give a query's own key away. The authors' groups are GPUs; here they are numbered, so that every world trains alike, and
/// queries are normalised as the recipe says (<c>train.sync_bn</c>). The queue is the same on every rank.
/// </remarks>
public sealed class MoCo : JointEmbedding
{
    private readonly MoCoOptions _options;
    private readonly Mlp _g, _keyG;
    private readonly Backbone _keyF;
    private readonly KeyQueue _queue;
    private Tensor? _keys;

    /// <summary>Builds the networks from torch's current random state; the key encoder starts as a copy.</summary>
    /// <exception cref="ArgumentException">As for every method; also a queue that whole batches do not fill, or a group of a single image.</exception>
    public MoCo(MoCoOptions options, MethodSetup setup)
        : base(options, setup)
    {
        if (options.Queue % Share.Total != 0)
            throw new ArgumentException($"method.queue: {options.Queue} is not a multiple of the global batch, {Share.Total}: the oldest batch leaves whole; set it to {Math.Max(1, options.Queue / Share.Total) * Share.Total}", nameof(options));
        if (options.ShuffleGroups > Share.Total / 2)
            throw new ArgumentException($"method.shuffle_groups: {options.ShuffleGroups} groups of {Share.Total} images; a group needs 2, or its statistics are nothing", nameof(options));
        _options = options;
        var keyNorm = options.ShuffleGroups == 0 ? Norm : Norm with { Collective = null };
        Mlp Projector(Normalization norm) => new(
            Backbone.Features, [.. Enumerable.Repeat(Backbone.Features, options.ProjectorLayers - 1), options.ProjectorOutput], norm, MlpEnd.Linear, normalizeHidden: false);
        _g = Part("projector", Projector(Norm));
        _keyF = Part("key_backbone", MovingAverage.Begin(setup.Model.Create(keyNorm), Backbone));
        _keyG = Part("key_projector", MovingAverage.Begin(Projector(keyNorm), _g));
        _queue = Part("queue", new KeyQueue(options.Queue, Share.Total, options.ProjectorOutput, options.Bank));
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x)                                 // [2n, 3, H, W]
    {
        var (xq, xk) = Halves(x);
        var q = Query(xq);                                                    // [n, D], unit
        _keys = Keys(xk);                                                     // [N, D], unit, of all ranks, without gradient
        var k = _keys.narrow(0, Share.Offset, Share.Count);                   // [n, D]
        return new MethodLoss(InfoNce(q, k, _queue.Keys(q.dtype), _options.Temperature).sum() / Share.Total, Shown(q, k));
    }

    /// <summary>−log softmax of (q · k, q · queue₁, … q · queue_K) / τ at the first, for each row: [n].</summary>
    /// <param name="q">Unit queries: [n, D].</param>
    /// <param name="k">Their images' unit keys: [n, D].</param>
    /// <param name="queue">Unit keys of other images: [K, D].</param>
    /// <param name="temperature">τ.</param>
    public static Tensor InfoNce(Tensor q, Tensor k, Tensor queue, double temperature)
    {
        var positive = (q * k).sum(1, keepdim: true);                         // [n, 1]
        var negative = q.matmul(queue.t());                                   // [n, K]
        var first = zeros(q.shape[0], dtype: ScalarType.Int64, device: q.device);
        return cross_entropy(cat([positive, negative], 1) / temperature, first, reduction: Reduction.None);
    }

    /// <summary>The key encoder follows (the authors: before a step's keys; here after the step before), and the step's keys join the queue.</summary>
    public override void AfterUpdate(long step, long totalSteps)
    {
        MovingAverage.Follow(_keyF, Backbone, _options.Momentum);
        MovingAverage.Follow(_keyG, _g, _options.Momentum);
        if (_options.ShuffleGroups > 0)
            MovingAverage.CopyStatistics(_keyF, Backbone);                    // each rank's are those of its groups; training reads none
        _queue.Append(_keys ?? throw new InvalidOperationException("an update without a loss before it has no keys"), step);
        _keys = null;
    }

    /// <summary>1 − the cosine of x's query and y's key: [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y)
    {
        var q = Query(x);
        using var _ = no_grad();
        return 1 - (q * Unit(Through(y, _keyF, _keyG))).sum(1);
    }

    /// <summary>False: the query's encoder and the key's are two networks.</summary>
    public override bool EnergyIsSymmetric => false;

    private Tensor Query(Tensor x) => Unit(Through(x, Backbone, _g));

    /// <summary>The keys of the global batch, in batch order: [n, 3, H, W] → [N, D].</summary>
    private Tensor Keys(Tensor x)
    {
        using var _ = no_grad();
        var (ranks, total) = (Share.Ranks, Share.Total);
        if (_options.ShuffleGroups == 0)
            return _queue.Gather(Unit(Through(x, _keyF, _keyG)), Share);

        var groups = Math.Min(_options.ShuffleGroups, Math.Max(1, total / 2));
        int First(int group) => group * total / groups;
        int FirstOf(int rank) => rank * groups / ranks.World;                 // a rank normalises the groups from here to the next rank's
        var order = tensor(Permutation(total, _queue.Updates), device: x.device);                            // [N]
        var images = ranks.AllGather(x, Share.Counts);                                                      // [N, 3, H, W]
        var mine = Enumerable.Range(FirstOf(ranks.Rank), FirstOf(ranks.Rank + 1) - FirstOf(ranks.Rank)).Select(g =>
            Unit(Through(Norm.Stack.ToChannelsLast(images.index_select(0, order.narrow(0, First(g), First(g + 1) - First(g)))), _keyF, _keyG)));
        var shuffled = ranks.AllGather(                                                                     // [N, D], in the order of groups
            _queue.Round(cat([zeros([0, _options.ProjectorOutput], dtype: x.dtype, device: x.device), .. mine])),
            [.. Enumerable.Range(0, ranks.World).Select(r => First(FirstOf(r + 1)) - First(FirstOf(r)))]);
        return empty_like(shuffled).index_copy_(0, order, shuffled).to(x.dtype);
    }

    private static long[] Permutation(int count, long step)
    {
        var order = new Feistel(new KeyedRandom(0).With(step).Key, count);
        return [.. Enumerable.Range(0, count).Select(i => order[i])];
    }
}

/// <summary>What MoCo's head, keys and queue look like; defaults of the authors' code for v2.</summary>
public sealed record MoCoOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "moco";

    /// <summary>τ. Range above 0 to 10, default 0.2 (v1: 0.07).</summary>
    public double Temperature { get; init; } = 0.2;

    /// <summary>m, the key encoder's momentum. Range 0 to 1, default 0.999; 0 fails to learn.</summary>
    public double Momentum { get; init; } = 0.999;

    /// <summary>K, keys that are remembered: a multiple of the global batch. Default 65,536.</summary>
    public int Queue { get; init; } = 65536;

    /// <summary>Linear layers of the projector, each but the last as wide as the features. Default 2 (v1: 1).</summary>
    public int ProjectorLayers { get; init; } = 2;

    /// <summary>D, dimensions of queries and keys. Default 128.</summary>
    public int ProjectorOutput { get; init; } = 128;

    /// <summary>Precision and staleness of the queue.</summary>
    public BankOptions Bank { get; init; } = new();

    /// <summary>Groups that keys are normalised in, shuffled anew each step; 0: with the statistics the queries have. Default 8, the authors' GPUs.</summary>
    public int ShuffleGroups { get; init; } = 8;

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) =>
        [new(Math.Log(Queue + 1), "ln(K + 1): every key is as likely as the image's own", "raise method.momentum if it is below 0.9: keys of a fast encoder do not compare; " + Plateau.ChanceRemedy, Collapse: true)];

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Temperature = given.Real("temperature", Temperature, 0, 10, aboveMin: true),
        Momentum = given.Real("momentum", Momentum, 0, 1),
        Queue = given.Count("queue", Queue, 2, 1 << 24),
        ProjectorLayers = given.Count("projector_layers", ProjectorLayers, 1, 2),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
        ShuffleGroups = given.Count("shuffle_groups", ShuffleGroups, 0, 4096),
        Bank = Bank.Read(given),
    };

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new MoCo(this, setup);
}

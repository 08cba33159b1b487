using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Training;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// SwAV: every view predicts the code of another view of its image: which prototypes it belongs to, where codes spread the whole batch evenly.
/// Source: Caron et al. 2020, algorithm 1 (multi-crop: section 3.2), and the authors' <c>main_swav.py</c>, which wins where they differ.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · V views, codes come from the first A (large crops) · D embedding dimensions · K prototypes C, unit rows ·
/// L queue · τ temperature · f backbone · g projector. The order of the prototypes does not matter. The queue holds the newest L embeddings of
/// each large crop, the same on every rank, of which a rank brings its part to Sinkhorn; it only widens Sinkhorn.
/// </remarks>
public sealed class SwAv : JointEmbedding
{
    private readonly SwAvOptions _options;
    private readonly Mlp _g;
    private readonly Linear _prototypes;
    private readonly CodeQueue _queue;
    private IReadOnlyList<Tensor> _newest = [];

    /// <summary>Builds the networks from torch's current random state.</summary>
    /// <exception cref="ArgumentException">As for every method; also more codes than views, or a queue that whole batches do not fill.</exception>
    public SwAv(SwAvOptions options, MethodSetup setup)
        : base(options, setup)
    {
        if (options.CodeViews > setup.ViewSizes.Count)
            throw new ArgumentException($"method.code_views: codes of {options.CodeViews} views, but an image has {setup.ViewSizes.Count}", nameof(options));
        if (options.Queue % Share.Total != 0)
            throw new ArgumentException($"method.queue: {options.Queue} is not a multiple of the global batch, {Share.Total}: the oldest batch leaves whole; set it to {Math.Max(1, options.Queue / Share.Total) * Share.Total} or 0", nameof(options));
        _options = options;
        _g = Part("projector", new Mlp(
            Backbone.Features, [.. Enumerable.Repeat(options.ProjectorHidden, options.ProjectorLayers - 1), options.ProjectorOutput], Norm, MlpEnd.Linear, options.NormalizeProjector));
        _prototypes = Part("prototypes", Linear(options.ProjectorOutput, options.Prototypes, hasBias: false));
        _queue = Part("queue", new CodeQueue(options.CodeViews, options.Queue, Share.Total, options.ProjectorOutput));
        NormalizePrototypes();
    }

    private Tensor C => _prototypes.weight!;                                  // [K, D]

    private bool Remembers => _options.Queue > 0 && _queue.Updates >= _options.QueueFrom;

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x) => Loss([x]);

    /// <inheritdoc/>
    public override MethodLoss Loss(IReadOnlyList<Tensor> x)                  // [V_k·n, 3, H_k, W_k] of each size
    {
        var features = cat([.. x.Select(size => Through(size, Backbone))]);   // [V·n, F]
        var z = Unit(Through(features, _g));                                  // [V·n, D]
        var views = z.matmul(C.t()).chunk(Views);                             // V × [n, K]
        _newest = Remembers ? [.. z.detach().chunk(Views)[.._options.CodeViews].Select(v => Share.Ranks.AllGather(v, Share.Counts))] : [];   // A × [N, D]

        var loss = zeros(Array.Empty<long>(), dtype: z.dtype, device: z.device);
        for (var a = 0; a < _options.CodeViews; a++)
        {
            var code = Code(a, views[a]);                                     // [n, K]
            for (var v = 0; v < Views; v++)
            {
                if (v != a)
                    loss += CrossEntropy(code, views[v] / _options.Temperature).sum();
            }
        }

        return new MethodLoss(loss / (_options.CodeViews * (Views - 1) * (double)Share.Total), z.detach());
    }

    /// <summary>−Σₖ qₖ log softmax(logits)ₖ, for each row: [n].</summary>
    public static Tensor CrossEntropy(Tensor q, Tensor logits) => -(q * logits.log_softmax(1)).sum(1);

    /// <summary>The first updates leave the prototypes where they are: neither gradient nor decay nor momentum moves them.</summary>
    public override ParameterUpdate UpdateOf(string parameter, long step) =>
        parameter == "prototypes.weight" && step < _options.FreezeSteps ? ParameterUpdate.Frozen : ParameterUpdate.Scheduled;

    /// <summary>Prototypes are unit vectors again, before the next step; the step's embeddings join the queue.</summary>
    public override void AfterUpdate(long step, long totalSteps)
    {
        NormalizePrototypes();
        _queue.Replace(_newest, step, _options.QueueFrom);
        _newest = [];
    }

    /// <summary>1 − the cosine of the embeddings that the prototypes see: 0 for the same view. [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y) => 1 - (Unit(Through(x, Backbone, _g)) * Unit(Through(y, Backbone, _g))).sum(1);

    private Tensor Code(int view, Tensor scores)
    {
        using var _ = no_grad();
        if (!Remembers || _queue.Updates < _options.QueueFrom + (_options.Queue / Share.Total))
            return Sinkhorn.Assign(scores, _options.Epsilon, _options.SinkhornIterations, Share.Ranks);
        var first = (long)_options.Queue * Share.Offset / Share.Total;        // this rank's part of the queue
        var end = (long)_options.Queue * (Share.Offset + Share.Count) / Share.Total;
        var remembered = _queue.Embeddings[view].narrow(0, first, end - first).matmul(C.t());
        return Sinkhorn.Assign(cat([scores.detach(), remembered]), _options.Epsilon, _options.SinkhornIterations, Share.Ranks).narrow(0, 0, Share.Count);
    }

    private void NormalizePrototypes()
    {
        if (!_options.NormalizePrototypes)
            return;
        using var _ = no_grad();
        C.copy_(normalize(C, dim: 1));
    }
}

/// <summary>The newest embeddings of each large crop: [A, L, D]; a bank of A · L rows.</summary>
internal sealed class CodeQueue : Bank
{
    private readonly int _length;

    internal CodeQueue(int views, int length, int batch, int dimensions)
        : base(nameof(CodeQueue), views * length, views * batch, dimensions, new BankOptions())
    {
        _length = length;
        register_buffer("embeddings", zeros(views, length, dimensions));
    }

    /// <summary>[A, L, D]; zeros where nothing has been remembered yet.</summary>
    internal Tensor Embeddings => Buffer("embeddings");

    /// <summary>Puts the embeddings of update <paramref name="step"/>, [N, D] of each crop or none, in the place of the oldest.</summary>
    internal void Replace(IReadOnlyList<Tensor> newest, long step, long from)
    {
        var places = newest.Index().SelectMany(crop =>
        {
            var (view, n) = (crop.Index, crop.Item.shape[0]);
            var first = (view * _length) + ((step - from - 1) * n % _length);
            return Enumerable.Range(0, (int)n).Select(i => first + i);
        });
        Record([.. places], newest.Count > 0 ? cat([.. newest]) : zeros(0, Dimensions), step);
    }

    /// <inheritdoc/>
    protected override void Put(long[] places, Tensor rows)
    {
        if (places.Length > 0)
            Rows.index_copy_(0, tensor(places, device: rows.device), rows);
    }

    /// <inheritdoc/>
    protected override Tensor Slice(long first, int count) => Rows.narrow(0, first, count);

    private Tensor Rows => Embeddings.view(-1, Dimensions);
}

/// <summary>What SwAV's head, prototypes and codes look like; defaults of the authors' code.</summary>
public sealed record SwAvOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "swav";

    /// <inheritdoc/>
    public override (int Least, int Most) Views => (2, 16);

    /// <inheritdoc/>
    public override bool MixesSizes => true;

    /// <summary>τ. Range above 0 to 10, default 0.1.</summary>
    public double Temperature { get; init; } = 0.1;

    /// <summary>ε of Sinkhorn. Range 0.02 to 10, since e^(1/ε) must be a number; default 0.05 (0.03 converges more often for small batches).</summary>
    public double Epsilon { get; init; } = 0.05;

    /// <summary>Default 3.</summary>
    public int SinkhornIterations { get; init; } = 3;

    /// <summary>K. Default 3,000, about three for each class of ImageNet.</summary>
    public int Prototypes { get; init; } = 3000;

    /// <summary>Whether prototypes are unit vectors. Default true; false is a control: their lengths grow until codes are no numbers any more.</summary>
    public bool NormalizePrototypes { get; init; } = true;

    /// <summary>A: codes are made of so many of the first views. Default 2.</summary>
    public int CodeViews { get; init; } = 2;

    /// <summary>Updates in which the prototypes stand still. Default 313, an epoch of ImageNet at batch 4,096.</summary>
    public long FreezeSteps { get; init; } = 313;

    /// <summary>L, a multiple of the global batch; 0 (default) for none. The authors: 3,840 at batch 256.</summary>
    public int Queue { get; init; }

    /// <summary>Updates before the queue begins to fill; it is used once full. Default 0; the authors: 15 epochs.</summary>
    public long QueueFrom { get; init; }

    /// <summary>Linear layers of the projector. Range 1 to 5, default 2 (SEER: 3).</summary>
    public int ProjectorLayers { get; init; } = 2;

    /// <summary>Whether the projector's hidden layers are normalised. Default true (SEER: false).</summary>
    public bool NormalizeProjector { get; init; } = true;

    /// <summary>Width of the projector's hidden layers. Default 2048.</summary>
    public int ProjectorHidden { get; init; } = 2048;

    /// <summary>D. Default 128.</summary>
    public int ProjectorOutput { get; init; } = 128;

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) => [new(Math.Log(Prototypes), "ln K: every prototype is as likely as any other", "lower method.epsilon: codes are too even; " + Plateau.ChanceRemedy, Collapse: true)];

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Temperature = given.Real("temperature", Temperature, 0, 10, aboveMin: true),
        Epsilon = given.Real("epsilon", Epsilon, 0.02, 10),
        SinkhornIterations = given.Count("sinkhorn_iterations", SinkhornIterations, 1, 100),
        Prototypes = given.Count("prototypes", Prototypes, 2, 1 << 17),
        NormalizePrototypes = given.Switch("normalize_prototypes", NormalizePrototypes),
        CodeViews = given.Count("code_views", CodeViews, 1, 16),
        FreezeSteps = given.Whole("freeze_steps", FreezeSteps, 0, 1L << 40),
        Queue = given.Count("queue", Queue, 0, 1 << 20),
        QueueFrom = given.Whole("queue_from", QueueFrom, 0, 1L << 40),
        ProjectorLayers = given.Count("projector_layers", ProjectorLayers, 1, 5),
        NormalizeProjector = given.Switch("normalize_projector", NormalizeProjector),
        ProjectorHidden = given.Count("projector_hidden", ProjectorHidden, 2, 16384),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
    };

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new SwAv(this, setup);
}

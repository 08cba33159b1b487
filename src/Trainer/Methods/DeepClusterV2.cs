using DarkMatter.Data;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// DeepCluster-v2: every view of an image must tell the cluster that the image's embedding of the epoch before belongs to. Clusters are made
/// anew at the start of each epoch, by spherical k-means, several times over; their centroids are the classifier's weights and are not trained.
/// Source: Caron et al. 2020 (SwAV), appendix D, and the authors' <c>main_deepclusterv2.py</c>, which wins where they differ.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · M images of the dataset · V views · A views (large crops) that are remembered · D embedding dimensions ·
/// H sets of K prototypes · τ temperature · f backbone · g projector. The first epoch only fills the memory, as the authors' pass before training
/// does: nothing is updated in it, and the learning rate's schedule begins after it. An epoch begins with the first step whose images are past a multiple of M. The prototypes' order does not matter.
/// </remarks>
public sealed class DeepClusterV2 : JointEmbedding
{
    private readonly DeepClusterV2Options _options;
    private readonly long _images;
    private readonly Mlp _g;
    private readonly ImageMemory[] _memories;
    private readonly Clusters _clusters;
    private IReadOnlyList<ImageRows> _newest = [];
    private (Tensor Prototypes, Tensor Assignments)? _next;

    /// <summary>Builds the networks from torch's current random state; the memory starts empty.</summary>
    /// <exception cref="ArgumentException">As for every method; also a dataset of unknown size or with fewer images than prototypes, a staleness that hides too many of them, or more memories than views.</exception>
    public DeepClusterV2(DeepClusterV2Options options, MethodSetup setup)
        : base(options, setup)
    {
        (_options, _images) = (options, setup.Images);
        _memories = [.. Enumerable.Range(0, options.CodeViews).Select(a => Part($"memory{a}", new ImageMemory(_images, Share.Total, options.ProjectorOutput, options.Bank)))];
        if (options.Prototypes > _images)
            throw new ArgumentException($"method.prototypes: {options.Prototypes} clusters, but the dataset has {_images} images; set fewer", nameof(options));
        // Clusters are made in the first step of the second epoch, of what can be seen then; an epoch shows every image once.
        var seen = options.Bank.Staleness == 0 ? _images : (((_images + Share.Total - 1) / Share.Total) - options.Bank.Staleness) * Share.Total;
        if (options.Prototypes > seen)
            throw new ArgumentException($"method.bank_staleness: {options.Bank.Staleness} steps after {_images} images in batches of {Share.Total}, {Math.Max(0, seen)} images can be seen, too few for {options.Prototypes} clusters; set it lower, or fewer prototypes", nameof(options));
        if (options.CodeViews > setup.ViewSizes.Count)
            throw new ArgumentException($"method.code_views: {options.CodeViews} views are remembered, but an image has {setup.ViewSizes.Count}", nameof(options));
        _g = Part("projector", new Mlp(Backbone.Features, [options.ProjectorHidden, options.ProjectorOutput], Norm, MlpEnd.Linear));
        _clusters = Part("clusters", new Clusters(options.PrototypeSets, options.Prototypes, options.ProjectorOutput, _images));
    }

    /// <summary>The first epoch, to the step with which the second begins.</summary>
    public override long UntrainedSteps => (_images + Share.Total - 1) / Share.Total;

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x) => Loss([x]);

    /// <inheritdoc/>
    public override MethodLoss Loss(IReadOnlyList<Tensor> x)                  // [V_k·n, 3, H_k, W_k] of each size
    {
        var step = _memories[0].Updates;
        var images = tensor(Share.Images.ToArray(), device: x[0].device);     // [n]
        Tensor z;                                                             // [V·n, D]
        using (Epoch(step) == 0 ? no_grad() : null)
            z = Unit(Through(cat([.. x.Select(size => Through(size, Backbone))]), _g));
        _newest = [.. z.detach().chunk(Views)[.._options.CodeViews].Zip(_memories, (v, memory) => memory.Gather(v, 0, Share))];
        _next = BeginsEpoch(step) ? Recluster(step) : null;
        var (prototypes, assignments) = _next ?? (_clusters.Prototypes, _clusters.Assignments);    // [H, K, D], [H, M]

        if (Epoch(step) == 0)
            return new MethodLoss(zeros(Array.Empty<long>(), dtype: z.dtype, device: z.device, requires_grad: true), z);    // no parameter gets a gradient
        var loss = zeros(Array.Empty<long>(), dtype: z.dtype, device: z.device);
        for (var h = 0; h < _options.PrototypeSets; h++)
        {
            var target = assignments[h].index_select(0, images).repeat(Views);    // [V·n], −1: not seen in the epoch before
            loss += CrossEntropy(z, prototypes[h], target, _options.Temperature);
        }

        return new MethodLoss(loss / (_options.PrototypeSets * Views * (double)Share.Total), z.detach());
    }

    /// <summary>−log softmax(z · prototypes / τ) at each row's target, summed over the rows that have one.</summary>
    /// <param name="z">Unit embeddings: [m, D].</param>
    /// <param name="prototypes">Unit rows: [K, D].</param>
    /// <param name="target">[m] int64; −1 for none.</param>
    /// <param name="temperature">τ.</param>
    public static Tensor CrossEntropy(Tensor z, Tensor prototypes, Tensor target, double temperature) =>
        cross_entropy(z.matmul(prototypes.t()) / temperature, target, ignore_index: -1, reduction: Reduction.Sum);

    /// <summary>Nothing is updated in the first epoch, which only fills the memory.</summary>
    public override ParameterUpdate UpdateOf(string parameter, long step) => Epoch(step) == 0 ? ParameterUpdate.Frozen : ParameterUpdate.Scheduled;

    /// <summary>New clusters take the place of the old, and the memory gets the step's embeddings.</summary>
    public override void AfterUpdate(long step, long totalSteps)
    {
        if (_next is (var prototypes, var assignments))
            _clusters.Replace(prototypes, assignments);
        foreach (var (memory, newest) in _memories.Zip(_newest))
            memory.Follow(newest, step);
        (_next, _newest) = (null, []);
    }

    /// <summary>1 − the cosine of the embeddings that are clustered: 0 for the same view. [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y) => 1 - (Unit(Through(x, Backbone, _g)) * Unit(Through(y, Backbone, _g))).sum(1);

    private long Epoch(long step) => (long)((Int128)step * Share.Total / _images);

    private bool BeginsEpoch(long step) => step > 0 && Epoch(step) > Epoch(step - 1);

    /// <summary>Set h clusters memory h mod A, from K of its vectors: [H, K, D] and [H, M]. Every rank gets the same.</summary>
    private (Tensor, Tensor) Recluster(long step)
    {
        using var _ = no_grad();
        var sets = Enumerable.Range(0, _options.PrototypeSets).Select(h =>
        {
            var memory = _memories[h % _options.CodeViews];
            var (first, end) = SphericalKMeans.Part(_images, Share.Ranks.Rank, Share.Ranks.World);
            return SphericalKMeans.Cluster(memory.Rows(first, end, _clusters.Prototypes.dtype), _images, Start(memory, Epoch(step), h), _options.Iterations, Share.Ranks);
        }).ToList();
        return (stack(sets.Select(s => s.Centroids)), stack(sets.Select(s => s.Assignments)));
    }

    private Tensor Start(ImageMemory memory, long epoch, int set)
    {
        var filled = memory.Seen();
        if (filled.Length < _options.Prototypes)
            throw new InvalidOperationException($"method.prototypes: {_options.Prototypes} clusters of the {filled.Length} images that the last epoch has seen; set fewer");
        var order = new Feistel(new KeyedRandom(0).With(epoch).With(set).Key, filled.Length);
        return memory.Read([.. Enumerable.Range(0, _options.Prototypes).Select(k => filled[order[k]])], _clusters.Prototypes.dtype);
    }
}

/// <summary>The clusters of the epoch: centroids [H, K, D], and which one each image belongs to [H, M].</summary>
internal sealed class Clusters : Module
{
    private readonly Tensor prototypes;
    private readonly Tensor assignments;

    internal Clusters(int sets, int count, int dimensions, long images)
        : base(nameof(Clusters))
    {
        prototypes = zeros(sets, count, dimensions);
        assignments = full([sets, images], -1, dtype: ScalarType.Int64);
        RegisterComponents();
    }

    internal Tensor Prototypes => prototypes;

    internal Tensor Assignments => assignments;

    internal void Replace(Tensor centroids, Tensor belong)
    {
        using var _ = no_grad();
        prototypes.copy_(centroids);
        assignments.copy_(belong);
    }
}

/// <summary>What DeepCluster-v2's head, memory and clusters look like; defaults of the authors' code.</summary>
public sealed record DeepClusterV2Options : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "deepcluster_v2";

    /// <inheritdoc/>
    public override (int Least, int Most) Views => (2, 16);

    /// <inheritdoc/>
    public override bool MixesSizes => true;

    /// <summary>τ. Range above 0 to 10, default 0.1.</summary>
    public double Temperature { get; init; } = 0.1;

    /// <summary>K, clusters of each set. Default 3,000.</summary>
    public int Prototypes { get; init; } = 3000;

    /// <summary>H. Default 3.</summary>
    public int PrototypeSets { get; init; } = 3;

    /// <summary>Iterations of k-means. Default 10.</summary>
    public int Iterations { get; init; } = 10;

    /// <summary>A: so many of the first views are remembered; set h clusters those of view h mod A. Default 2.</summary>
    public int CodeViews { get; init; } = 2;

    /// <summary>Width of the projector's hidden layer. Default 2048.</summary>
    public int ProjectorHidden { get; init; } = 2048;

    /// <summary>D. Default 128.</summary>
    public int ProjectorOutput { get; init; } = 128;

    /// <summary>Precision and staleness of the memory.</summary>
    public BankOptions Bank { get; init; } = new();

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Temperature = given.Real("temperature", Temperature, 0, 10, aboveMin: true),
        Prototypes = given.Count("prototypes", Prototypes, 2, 1 << 17),
        PrototypeSets = given.Count("prototype_sets", PrototypeSets, 1, 16),
        Iterations = given.Count("iterations", Iterations, 1, 100),
        CodeViews = given.Count("code_views", CodeViews, 1, 16),
        ProjectorHidden = given.Count("projector_hidden", ProjectorHidden, 2, 16384),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
        Bank = Bank.Read(given),
    };

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) =>
        // No collapse: new clusters every epoch are a new task, which begins near chance.
        [new(Math.Log(Prototypes), "ln K: every cluster is as likely as any other", "set fewer method.prototypes; " + Plateau.ChanceRemedy, Collapse: false)];

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new DeepClusterV2(this, setup);
}

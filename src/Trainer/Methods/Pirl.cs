using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Models;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// PIRL: what nine shuffled patches of an image say, and what the image itself says, is what a memory keeps of that image, and not what it keeps
/// of others. Source: Misra and van der Maaten 2019, section 3, and the authors' VISSL (<c>pirl_jigsaw_4node_resnet50.yaml</c>,
/// <c>nce_loss.py</c>), which wins where they differ. Negatives are drawn anew in each step, there for every anchor, here for all alike.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · M images of the dataset · D embedding dimensions · K negatives · τ temperature · f backbone · g image
/// head · h patch head: a projection of each of 9 patches, then one of all nine side by side · m memory, an average with a momentum that sees
/// the image's embedding only. Turning all embeddings and the memory together changes nothing.
/// </remarks>
public sealed class Pirl : JointEmbedding
{
    private const int Side = 3;
    private readonly PirlOptions _options;
    private readonly Mlp _g, _patch;
    private readonly Linear _h;
    private readonly ImageMemory _memory;
    private readonly Partition _partition;
    private ImageRows? _newest;
    private double _z;

    /// <summary>Builds the networks from torch's current random state; the memory starts as random directions.</summary>
    /// <exception cref="ArgumentException">As for every method; also a dataset of unknown size, or fewer images than negatives.</exception>
    public Pirl(PirlOptions options, MethodSetup setup)
        : base(options, setup)
    {
        _memory = Part("memory", new ImageMemory(setup.Images, Share.Total, options.ProjectorOutput, options.Bank));
        if (options.Negatives >= setup.Images)
            throw new ArgumentException($"method.negatives: {options.Negatives} negatives for an image, but the dataset has {setup.Images}; set at most {setup.Images - 1}", nameof(options));
        _options = options;
        int[] widths = [.. Enumerable.Repeat(Backbone.Features, options.ProjectorLayers - 1), options.ProjectorOutput];
        _g = Part("projector", new Mlp(Backbone.Features, widths, Norm, MlpEnd.Linear, normalizeHidden: options.NormalizeHead));
        _patch = Part("patch_projector", new Mlp(Backbone.Features, widths, Norm, MlpEnd.Linear, normalizeHidden: options.NormalizeHead));
        _h = Part("patches_projector", Linear(Side * Side * options.ProjectorOutput, options.ProjectorOutput));
        _partition = Part("partition", new Partition());
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x)                                 // [2n, 3, H, W]
    {
        var (image, patches) = Halves(x);
        return Loss([image, patches]);
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(IReadOnlyList<Tensor> x)                  // [n, 3, H, W] images, [n, 3, 3P, 3P] patches
    {
        if (x is [var both])
            return Loss(both);
        var others = _memory.Draw(_options.Negatives);                        // [K], the same on every rank
        var p = Patches(x[1]);                                                // [n, D], unit
        var v = Image(x[0]);                                                  // [n, D], unit; last, so that running statistics end as whole images' (the authors' order)
        var own = _memory.Read(Share.Images, v.dtype);                        // [n, D]
        var negative = _memory.Read(others, v.dtype);                         // [K, D]
        var same = tensor(Share.Images.ToArray(), device: v.device).unsqueeze(1).eq(tensor(others, device: v.device));    // [n, K] a negative that is the image itself

        _newest = _memory.Gather(v, _options.Momentum, Share);
        _z = _options.InfoNce ? 0 : _partition.Value > 0 ? _partition.Value : FirstPartition(p, own, negative);
        var loss = (Contrast(p, own, negative, same) / 2) + (Contrast(v, own, negative, same) / 2);
        return new MethodLoss(loss / Share.Total, Shown(v, p));
    }

    /// <summary>−log softmax of (e · own, e · negatives) / τ at the first, without negatives that are the image itself: the sum over rows.</summary>
    /// <param name="e">Unit embeddings: [n, D].</param>
    /// <param name="own">What the memory has of the same images: [n, D].</param>
    /// <param name="negative">What it has of others: [K, D].</param>
    /// <param name="same">Which negatives are the row's image itself: [n, K].</param>
    /// <param name="temperature">τ.</param>
    public static Tensor InfoNce(Tensor e, Tensor own, Tensor negative, Tensor same, double temperature)
    {
        var positive = (e * own).sum(1, keepdim: true);                       // [n, 1]
        var others = e.matmul(negative.t()).masked_fill(same, double.NegativeInfinity);    // [n, K]
        var first = zeros(e.shape[0], dtype: ScalarType.Int64, device: e.device);
        return cross_entropy(cat([positive, others], 1) / temperature, first, reduction: Reduction.Sum);
    }

    /// <summary>
    /// Noise contrastive estimation (Gutmann and Hyvärinen 2010; Wu et al. 2018): −log P(own is data) − Σ log P(negative is noise), where e's
    /// probability of a memory is exp(e · m / τ) / Z and noise has 1/M: the sum over rows.
    /// </summary>
    /// <param name="e">Unit embeddings: [n, D].</param>
    /// <param name="own">What the memory has of the same images: [n, D].</param>
    /// <param name="negative">What it has of others: [K, D].</param>
    /// <param name="same">Which negatives are the row's image itself, and so none: [n, K].</param>
    /// <param name="temperature">τ.</param>
    /// <param name="z">Z.</param>
    /// <param name="images">M.</param>
    public static Tensor Nce(Tensor e, Tensor own, Tensor negative, Tensor same, double temperature, double z, long images)
    {
        var odds = Math.Log(z) + Math.Log((double)negative.shape[0] / images);    // of noise, whose density is K/M
        var positive = ((e * own).sum(1) / temperature) - odds;               // [n]
        var others = (e.matmul(negative.t()) / temperature) - odds;           // [n, K]
        return Softplus(-positive).sum() + Softplus(others).masked_fill(same, 0).sum();
    }

    /// <summary>The memory follows the images' embeddings.</summary>
    public override void AfterUpdate(long step, long totalSteps)
    {
        _memory.Follow(_newest ?? throw new InvalidOperationException("an update without a loss before it has nothing to remember"), step);
        _partition.Set(_z);
        _newest = null;
    }

    /// <summary>1 − the cosine of the images' embeddings: 0 for the same image. [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y) => 1 - (Image(x) * Image(y)).sum(1);

    private Tensor Image(Tensor x) => Unit(Through(x, Backbone, _g));

    private Tensor Patches(Tensor x)
    {
        var each = Through(Norm.Stack.ToChannelsLast(Tiles(x)), Backbone, _patch);    // [9n, D]
        return Unit(Through(each.view(x.shape[0], Side * Side * _options.ProjectorOutput), _h));
    }

    /// <summary>The nine tiles of each image, rows first: [n, 3, 3P, 3P] → [9n, 3, P, P].</summary>
    internal static Tensor Tiles(Tensor x)
    {
        var (n, patch) = (x.shape[0], x.shape[2] / Side);
        return x.contiguous().view(n, 3, Side, patch, Side, patch).permute(0, 2, 4, 1, 3, 5).contiguous().view(n * Side * Side, 3, patch, patch);
    }

    private Tensor Contrast(Tensor e, Tensor own, Tensor negative, Tensor same) => _options.InfoNce
        ? InfoNce(e, own, negative, same, _options.Temperature)
        : Nce(e, own, negative, same, _options.Temperature, _z, _memory.Length);

    /// <summary>Z, once and for all: M times the mean of exp(e · m / τ) over the patches of the first batch and what they are compared with.</summary>
    private double FirstPartition(Tensor p, Tensor own, Tensor negative)
    {
        using var _ = no_grad();
        var powers = ((p * own).sum(1) / _options.Temperature).exp().sum() + (p.matmul(negative.t()) / _options.Temperature).exp().sum();
        double[] sum = [powers.to(ScalarType.Float64).item<double>()];
        Share.Ranks.AllReduceSum(sum);
        return _memory.Length * sum[0] / (Share.Total * (negative.shape[0] + 1.0));
    }

    /// <summary>log(1 + eˣ).</summary>
    private static Tensor Softplus(Tensor x) => x.clamp_min(0) + (-x.abs()).exp().log1p();
}

/// <summary>Z of noise contrastive estimation: 0 until the first batch has fixed it.</summary>
internal sealed class Partition : Module
{
    private readonly Tensor z;

    internal Partition()
        : base(nameof(Partition))
    {
        z = zeros(Array.Empty<long>(), dtype: ScalarType.Float64);
        RegisterComponents();
    }

    internal double Value => z.to(ScalarType.Float64).item<double>();

    internal void Set(double value)
    {
        using var _ = no_grad();
        z.fill_(value);
    }
}

/// <summary>What PIRL's heads, memory and loss look like; defaults of the authors' configuration.</summary>
public sealed record PirlOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "pirl";

    /// <inheritdoc/>
    public override bool MixesSizes => true;

    /// <inheritdoc/>
    public override IReadOnlyList<int> SmallestViews => [16, 24];

    /// <summary>τ. Range above 0 to 10, default 0.07 (0.1 with <see cref="InfoNce"/> and two layers).</summary>
    public double Temperature { get; init; } = 0.07;

    /// <summary>The memory's momentum. Range 0 to 1, default 0.5.</summary>
    public double Momentum { get; init; } = 0.5;

    /// <summary>K, images of the memory that each embedding is compared with. Default 32,000.</summary>
    public int Negatives { get; init; } = 32000;

    /// <summary>Softmax among the candidates instead of telling data from noise. Default false.</summary>
    public bool InfoNce { get; init; }

    /// <summary>Linear layers of the two heads, each but the last as wide as the features. Default 1 (2 in the authors' later configuration).</summary>
    public int ProjectorLayers { get; init; } = 1;

    /// <summary>
    /// Whether the heads' hidden layers are normalised; there are some with two <see cref="ProjectorLayers"/>. Default false, as the authors have it. A
    /// convolutional backbone's first features are nearly parallel; without it a short run may not get off the ground.
    /// </summary>
    public bool NormalizeHead { get; init; }

    /// <summary>D. Default 128.</summary>
    public int ProjectorOutput { get; init; } = 128;

    /// <summary>Precision and staleness of the memory.</summary>
    public BankOptions Bank { get; init; } = new();

    /// <inheritdoc/>
    public override int GridOf(int view) => view == 1 ? 3 : 1;

    /// <inheritdoc/>
    public override string? ViewProblem(IReadOnlyList<int> sizes) =>
        base.ViewProblem(sizes) ?? (sizes[1] % 3 != 0 ? $"{Name}'s second view is nine patches, so 3 must divide its size, {sizes[1]}" : null);

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Temperature = given.Real("temperature", Temperature, 0, 10, aboveMin: true),
        Momentum = given.Real("momentum", Momentum, 0, 1),
        Negatives = given.Count("negatives", Negatives, 1, 1 << 24),
        InfoNce = given.Switch("info_nce", InfoNce),
        ProjectorLayers = given.Count("projector_layers", ProjectorLayers, 1, 2),
        NormalizeHead = given.Switch("normalize_head", NormalizeHead),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
        Bank = Bank.Read(given),
    };

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) => InfoNce ? [new(Math.Log(Negatives + 1), "ln(K + 1): every image is as likely as the own one", Plateau.ChanceRemedy, Collapse: true)] : [];

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new Pirl(this, setup);
}

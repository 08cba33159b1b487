using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// DINO: from every view, the student predicts the distribution that its own average, the teacher, gives for another, large one; centring keeps
/// the teacher from always naming one dimension, a low temperature from naming all alike. Source: Caron et al. 2021, algorithm 1, and the
/// authors' <c>main_dino.py</c>, which wins where they differ. (Their gradient clipping is the optimizer's affair and not here.) The teacher, the
/// better of the two all along (section 5.2), is what is evaluated and exported, as their <c>eval_knn.py</c> does.
/// </summary>
/// <remarks>
/// n images on this rank · N on all ranks · V views, the teacher sees the first two (large crops) · K outputs · τ_s, τ_t temperatures · c centre ·
/// f, h student's backbone and head · f', h' teacher, their average with momentum m. A shift that the teacher's outputs and c share changes nothing.
/// </remarks>
public sealed class Dino : JointEmbedding
{
    private const int TeacherViews = 2;
    private readonly DinoOptions _options;
    private readonly DinoHead _h, _teacherH;
    private readonly Backbone _teacherF;
    private readonly Centre _centre;
    private Tensor? _mean;

    /// <summary>Builds the networks from torch's current random state; the teacher starts as a copy.</summary>
    public Dino(DinoOptions options, MethodSetup setup)
        : base(options, setup)
    {
        _options = options;
        _h = Part("head", new DinoHead(Backbone.Features, options, setup.Norm));
        _teacherF = Part("teacher_backbone", MovingAverage.Begin(setup.Model.Create(setup.Norm), Backbone));
        _teacherH = Part("teacher_head", MovingAverage.Begin(new DinoHead(Backbone.Features, options, setup.Norm), _h));
        _centre = Part("centre", new Centre(options.Outputs));
    }

    /// <inheritdoc/>
    public override MethodLoss Loss(Tensor x) => Loss([x]);

    /// <inheritdoc/>
    public override MethodLoss Loss(IReadOnlyList<Tensor> x)                  // [V_k·n, 3, H_k, W_k] of each size
    {
        var features = cat([.. x.Select(size => Through(size, Backbone))]);   // [V·n, F]
        var bottleneck = Through(features, _h);                               // [V·n, D]
        var s = _h.Cosines(bottleneck).chunk(Views);                          // V × [n, K]
        var given = Teach(x[0].narrow(0, 0, TeacherViews * Share.Count));      // [2n, K], without gradient
        var t = Distribution(given, _centre.Value, _options.TeacherTemperatureAt(_centre.Updates)).chunk(TeacherViews);
        _mean = GlobalSum.Of(given.sum([0]), Share.Ranks) / (TeacherViews * Share.Total);    // [K]

        var loss = zeros(Array.Empty<long>(), dtype: s[0].dtype, device: s[0].device);
        for (var a = 0; a < TeacherViews; a++)
        {
            for (var v = 0; v < Views; v++)
            {
                if (v != a)
                    loss += SwAv.CrossEntropy(t[a], s[v] / _options.StudentTemperature).sum();
            }
        }

        return new MethodLoss(loss / (TeacherViews * (Views - 1) * (double)Share.Total), Shown(bottleneck));
    }

    /// <summary>softmax((t − c) / τ_t): [n, K].</summary>
    public static Tensor Distribution(Tensor t, Tensor centre, double temperature) => ((t - centre) / temperature).softmax(1);

    /// <summary>The last layer stands still in the first updates.</summary>
    public override ParameterUpdate UpdateOf(string parameter, long step) =>
        parameter.StartsWith("head.last", StringComparison.Ordinal) && step < _options.FreezeSteps ? ParameterUpdate.Frozen : ParameterUpdate.Scheduled;

    /// <summary>The teacher follows, ever more slowly; the centre moves to the mean of what it gave for the global batch.</summary>
    public override void AfterUpdate(long step, long totalSteps)
    {
        var m = MovingAverage.Cosine(_options.Momentum, step - 1, totalSteps);
        MovingAverage.Follow(_teacherF, Backbone, m);
        MovingAverage.Follow(_teacherH, _h, m);
        _centre.Follow(_mean ?? throw new InvalidOperationException("an update without a loss before it has no teacher outputs"), _options.CentreMomentum, step);
        _mean = null;
    }

    /// <summary>What the student's distribution of each view costs under the teacher's of the other, the mean of both directions: [n].</summary>
    public override Tensor Energy(Tensor x, Tensor y) => (Surprise(x, y) + Surprise(y, x)) / 2;

    private Tensor Surprise(Tensor x, Tensor y) => SwAv.CrossEntropy(
        Distribution(Teach(y), _centre.Value, _options.TeacherTemperatureAt(_centre.Updates)), _h.Cosines(Through(x, Backbone, _h)) / _options.StudentTemperature);

    private Tensor Teach(Tensor x)
    {
        using var _ = no_grad();
        return _teacherH.Cosines(Through(x, _teacherF, _teacherH));
    }
}

/// <summary>Three linear layers with GELU up to a bottleneck of D, and K directions whose lengths are fixed at 1 (weight norm).</summary>
internal sealed class DinoHead : Module<Tensor, Tensor>
{
    private readonly Linear first;
    private readonly Linear second;
    private readonly Linear third;
    private readonly Linear last;
    private readonly Models.BatchNorm? firstNorm, secondNorm;

    internal DinoHead(int inputs, DinoOptions options, Normalization norm)
        : base(nameof(DinoHead))
    {
        first = Start(Linear(inputs, options.Hidden));
        second = Start(Linear(options.Hidden, options.Hidden));
        if (options.NormalizeHead)
        {
            firstNorm = norm.Layer(options.Hidden);
            secondNorm = norm.Layer(options.Hidden);
        }

        third = Start(Linear(options.Hidden, options.Bottleneck));
        last = Linear(options.Bottleneck, options.Outputs, hasBias: false);
        RegisterComponents();
    }

    /// <summary>[n, F] → [n, D]: what is compared with the K directions, before it gets unit length.</summary>
    public override Tensor forward(Tensor input) => third.call(Hidden(second, secondNorm, Hidden(first, firstNorm, input)));

    /// <summary>[n, D] → [n, K]: in float32 at least, for a temperature of 0.04 multiplies what bfloat16 would round off by 25.</summary>
    internal Tensor Cosines(Tensor bottleneck) => linear(normalize(bottleneck, dim: 1), normalize(last.weight!, dim: 1));

    private static Tensor Hidden(Linear layer, Models.BatchNorm? norm, Tensor input)
    {
        var x = layer.call(input);
        return (norm is null ? x : norm.call(x)).gelu();
    }

    private static Linear Start(Linear layer)
    {
        init.normal_(layer.weight!, std: 0.02);
        init.zeros_(layer.bias!);
        return layer;
    }
}

/// <summary>c, the slow mean of the teacher's outputs.</summary>
internal sealed class Centre : Module
{
    private readonly Tensor value;
    private readonly Tensor updates;

    internal Centre(int outputs)
        : base(nameof(Centre))
    {
        value = zeros(outputs);
        updates = zeros(Array.Empty<long>(), dtype: ScalarType.Int64);
        RegisterComponents();
    }

    internal Tensor Value => value;

    internal long Updates => updates.item<long>();

    internal void Follow(Tensor mean, double momentum, long step)
    {
        using var _ = no_grad();
        value.mul_(momentum).add_(mean, 1 - momentum);
        updates.fill_(step);
    }
}

/// <summary>What DINO's head, teacher and centre look like; defaults of the authors' code.</summary>
public sealed record DinoOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "dino";

    /// <inheritdoc/>
    public override string ExportedPart => "teacher_backbone";

    /// <inheritdoc/>
    public override (int Least, int Most) Views => (2, 16);

    /// <inheritdoc/>
    public override string? ViewProblem(IReadOnlyList<int> sizes) =>
        base.ViewProblem(sizes) ?? (sizes[0] != sizes[1] ? "the teacher sees the first two views, so they need one size" : null);

    /// <inheritdoc/>
    public override bool MixesSizes => true;

    /// <summary>τ_s. Range above 0 to 10, default 0.1.</summary>
    public double StudentTemperature { get; init; } = 0.1;

    /// <summary>τ_t at the first update. Range above 0 to 10, default 0.04.</summary>
    public double WarmupTeacherTemperature { get; init; } = 0.04;

    /// <summary>τ_t after the warm-up. Range above 0 to 10, default 0.04; 0.07 with a warm-up of 30 to 50 epochs.</summary>
    public double TeacherTemperature { get; init; } = 0.04;

    /// <summary>Updates in which τ_t goes from one to the other, linearly. Default 0.</summary>
    public long TeacherWarmupSteps { get; init; }

    /// <summary>m at the start; it ends at 1. Range 0 to 1, default 0.996.</summary>
    public double Momentum { get; init; } = 0.996;

    /// <summary>What part of the centre stays at each update. Range 0 to 1, default 0.9.</summary>
    public double CentreMomentum { get; init; } = 0.9;

    /// <summary>Updates in which the last layer stands still. Default 1251, an epoch of ImageNet at batch 1,024.</summary>
    public long FreezeSteps { get; init; } = 1251;

    /// <summary>Width of the head's hidden layers. Default 2048.</summary>
    public int Hidden { get; init; } = 2048;

    /// <summary>
    /// Whether the head's hidden layers are normalised (the authors' <c>use_bn_in_head</c>). Default false. A convolutional backbone's first features are
    /// nearly parallel; without it a short run may not get off the ground.
    /// </summary>
    public bool NormalizeHead { get; init; }

    /// <summary>Width of the bottleneck. Default 256.</summary>
    public int Bottleneck { get; init; } = 256;

    /// <summary>K. Default 65,536.</summary>
    public int Outputs { get; init; } = 65536;

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) =>
        [new(Math.Log(Outputs), "ln K: every output is as likely as any other", "lower method.teacher_temperature, or begin lower (method.warmup_teacher_temperature), and raise optimizer.lr if it has been there since the start", Collapse: true)];

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        StudentTemperature = given.Real("student_temperature", StudentTemperature, 0, 10, aboveMin: true),
        WarmupTeacherTemperature = given.Real("warmup_teacher_temperature", WarmupTeacherTemperature, 0, 10, aboveMin: true),
        TeacherTemperature = given.Real("teacher_temperature", TeacherTemperature, 0, 10, aboveMin: true),
        TeacherWarmupSteps = given.Whole("teacher_warmup_steps", TeacherWarmupSteps, 0, 1L << 40),
        Momentum = given.Real("momentum", Momentum, 0, 1),
        CentreMomentum = given.Real("centre_momentum", CentreMomentum, 0, 1),
        FreezeSteps = given.Whole("freeze_steps", FreezeSteps, 0, 1L << 40),
        Hidden = given.Count("hidden", Hidden, 2, 16384),
        NormalizeHead = given.Switch("normalize_head", NormalizeHead),
        Bottleneck = given.Count("bottleneck", Bottleneck, 2, 16384),
        Outputs = given.Count("outputs", Outputs, 2, 1 << 20),
    };

    /// <summary>τ_t of the step that makes update <paramref name="step"/> + 1.</summary>
    public double TeacherTemperatureAt(long step) => step >= TeacherWarmupSteps
        ? TeacherTemperature
        : WarmupTeacherTemperature + ((TeacherTemperature - WarmupTeacherTemperature) * step / TeacherWarmupSteps);

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new Dino(this, setup);
}

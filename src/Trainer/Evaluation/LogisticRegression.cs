using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>
/// Multinomial logistic regression on standardised features: mean cross-entropy + λ/2 ‖W‖² + β/2 ‖b‖². A place is [C, F + 1] float64, the last column
/// b.
/// </summary>
/// <remarks>
/// Features stay in their own type: blocks of at most 4 MiB become float64 on the way. A search of up to <see cref="MostUnknowns"/> numbers is steered by
/// the second derivatives themselves, of some of the images, taken anew every <see cref="Round"/> steps: it takes some tens of steps where their bound
/// needs hundreds. Above that the bound serves: they are at most ½ (I − 11ᵀ/C) ⊗ S + λ (Böhning 1992, Multinomial logistic regression algorithm),
/// where S [F, F] is the features' correlation matrix; its axes are found once and serve every λ. 8 F² bytes stay, and five times as many are used for a
/// moment; second derivatives take 16 (C (F + 1))² bytes.
/// </remarks>
internal sealed class LogisticRegression
{
    /// <summary>
    /// β. The shift of all classes' b together changes no probability, and a class without images would send its b to −∞: this much pull makes the
    /// minimum one place. It moves b by about a millionth.
    /// </summary>
    public const double OffsetDecay = 1e-6;

    /// <summary>More features than this are bounded by S = F · I instead: their axes would take minutes and gigabytes.</summary>
    public const int MostAxes = 4096;

    /// <summary>Up to so many numbers are searched with their second derivatives: two matrices of 50 MiB.</summary>
    public const int MostUnknowns = 2560;

    /// <summary>Steps with the same second derivatives: more than those without progress that end a search.</summary>
    private const int Round = Lbfgs.MostIdle + 5;

    /// <summary>Of so many images for each feature second derivatives are taken: enough for a search, whose end does not depend on them.</summary>
    private const int ImagesPerFeature = 64;

    /// <summary>Added to the second derivatives, so that rounding leaves them positive.</summary>
    private const double Floor = 1e-9;

    private const long BlockElements = 1 << 19;
    private const double SmallestDeviation = 1e-8;
    private readonly Tensor _features, _labels;                                       // [n, F] or more rows, [n, 1]
    private readonly Tensor? _rows;                                                   // [n]
    private readonly Tensor? _spread, _axes;                                          // [F], [F, F]
    private readonly long _n, _f, _classes;
    private readonly CancellationToken _cancellationToken;

    /// <summary>Takes the moments of the features.</summary>
    /// <param name="features">[N, F].</param>
    /// <param name="labels">N classes.</param>
    /// <param name="rows">The images that count; null: all.</param>
    /// <param name="classes">C.</param>
    /// <param name="cancellationToken">Ends the work between two blocks.</param>
    public LogisticRegression(Tensor features, IReadOnlyList<int> labels, IReadOnlyList<int>? rows, int classes, CancellationToken cancellationToken)
    {
        (_features, _f, _classes, _cancellationToken) = (features, features.shape[1], classes, cancellationToken);
        _n = rows?.Count ?? labels.Count;
        _rows = rows is null ? null : Indices(rows);
        _labels = Indices(rows is null ? labels : rows.Select(i => labels[i])).unsqueeze(1);

        Mean = Zeros(_f);
        foreach (var (begin, count) in Blocks(_n, _f))
        {
            using var part = NewDisposeScope();
            Mean.add_(Rows(begin, count).to(ScalarType.Float64).sum([0]));
        }

        Mean.div_(_n);
        using var scope = NewDisposeScope();
        var whole = _f <= MostAxes;
        var moments = whole ? Zeros(_f, _f) : Zeros(_f);
        foreach (var (begin, count) in Blocks(_n, _f))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var part = NewDisposeScope();
            var x = Centred(Rows(begin, count));
            moments.add_(whole ? x.t().matmul(x) : x.square().sum([0]));
        }

        moments.div_(_n);
        Deviation = (whole ? moments.diagonal() : moments).sqrt().clamp_min(SmallestDeviation).MoveToOuterDisposeScope();
        if (!whole)
            return;
        var (spread, axes) = linalg.eigh(moments / (Deviation.unsqueeze(1) * Deviation));
        (_spread, _axes) = (spread.clamp_min(0).MoveToOuterDisposeScope(), axes.MoveToOuterDisposeScope());
    }

    /// <summary>[F], of the images that count.</summary>
    public Tensor Mean { get; }

    /// <summary>[F], of the images that count; at least 1e-8, so that a constant feature is 0.</summary>
    public Tensor Deviation { get; }

    /// <summary>The least objective's place for one λ.</summary>
    /// <param name="decay">λ, above 0.</param>
    /// <param name="start">[C, F + 1]; null: 0.</param>
    /// <param name="tolerance">The search ends where the objective is proven to be within this part of its least value.</param>
    /// <param name="iterated">Told the number of steps after each.</param>
    public Minimum Minimize(double decay, Tensor? start, double tolerance, Action<int>? iterated)
    {
        using var scope = NewDisposeScope();
        var penalty = full([1, _f + 1], decay, dtype: ScalarType.Float64, device: _features.device);
        penalty.narrow(1, _f, 1).fill_(OffsetDecay);
        var place = (start ?? Zeros(_classes, _f + 1)).flatten();
        var found = place.shape[0] <= MostUnknowns
            ? InRounds(penalty, place, tolerance, iterated)
            : Lbfgs.Minimize(new Objective(this, penalty), place, tolerance, iterated, _cancellationToken);
        return found with { Place = found.Place.view(_classes, _f + 1).MoveToOuterDisposeScope() };
    }

    private Minimum InRounds(Tensor penalty, Tensor place, double tolerance, Action<int>? iterated)
    {
        var done = 0;
        while (true)
        {
            using var round = NewDisposeScope();
            var most = Math.Min(Round, Lbfgs.MostIterations - done);
            var before = done;
            Action<int>? report = iterated is null ? null : step => iterated(before + step);
            var found = Lbfgs.Minimize(new Objective(this, penalty, Triangle(place, penalty)), place, tolerance, report, _cancellationToken, most);
            done += found.Iterations;
            place = found.Place.MoveToOuterDisposeScope();
            if (found.Iterations < Round || done >= Lbfgs.MostIterations)
                return found with { Place = place, Iterations = done };
        }
    }

    /// <summary>The Cholesky factor [d, d] of the second derivatives at a place, of evenly spaced images.</summary>
    private Tensor Triangle(Tensor place, Tensor penalty)
    {
        using var scope = NewDisposeScope();
        var (weights, b) = Split(place);
        var side = _f + 1;
        var curvature = Zeros(_classes * side, _classes * side);
        var (stride, taken) = (Math.Max(1, _n / (ImagesPerFeature * _f)), 0L);
        foreach (var (begin, count) in Blocks(_n, _f))
        {
            _cancellationToken.ThrowIfCancellationRequested();
            using var part = NewDisposeScope();
            var x = Centred(Rows(begin, count).slice(0, (stride - (begin % stride)) % stride, count, stride));
            if (x.shape[0] == 0)
                continue;
            taken += x.shape[0];
            var p = (x.matmul(weights) + b).softmax(1);
            x = cat([x / Deviation, ones([x.shape[0], 1], dtype: ScalarType.Float64, device: x.device)], 1);
            for (long c = 0; c < _classes; c++)
            {
                for (long other = 0; other <= c; other++)
                {
                    using var pair = NewDisposeScope();
                    var (own, second) = (p.narrow(1, c, 1), p.narrow(1, other, 1));
                    var products = (x * (own * ((c == other ? 1 : 0) - second))).t().matmul(x);
                    curvature.narrow(0, c * side, side).narrow(1, other * side, side).add_(products);
                    if (other < c)
                        curvature.narrow(0, other * side, side).narrow(1, c * side, side).add_(products);
                }
            }
        }

        curvature.div_(taken);
        curvature.diagonal().add_((penalty + Floor).expand(_classes, side).flatten());
        return linalg.cholesky(curvature).MoveToOuterDisposeScope();
    }

    /// <summary>What a place makes of centred features: [F, C] and [1, C].</summary>
    private (Tensor Weights, Tensor Offset) Split(Tensor place)
    {
        var rows = place.view(_classes, _f + 1);
        return ((rows.narrow(1, 0, _f) / Deviation).t().contiguous(), rows.narrow(1, _f, 1).t());
    }

    /// <summary>Parts of n rows of f features that are worth a pass: first row and count.</summary>
    internal static IEnumerable<(long Begin, long Count)> Blocks(long n, long f)
    {
        var size = Math.Max(1, BlockElements / f);
        for (long begin = 0; begin < n; begin += size)
            yield return (begin, Math.Min(size, n - begin));
    }

    private Tensor Rows(long begin, long count) =>
        _rows is null ? _features.narrow(0, begin, count) : _features.index_select(0, _rows.narrow(0, begin, count));

    private Tensor Centred(Tensor rows) => rows.to(ScalarType.Float64) - Mean;         // [rows, F]

    private Tensor Zeros(params long[] shape) => zeros(shape, dtype: ScalarType.Float64, device: _features.device);

    private Tensor Indices(IEnumerable<int> values) => tensor(values.Select(v => (long)v).ToArray(), device: _features.device);

    private sealed class Objective(LogisticRegression of, Tensor penalty, Tensor? triangle = null) : IConvexObjective
    {
        public (double Value, Tensor Gradient) At(Tensor flat)
        {
            using var scope = NewDisposeScope();
            var place = flat.view(of._classes, of._f + 1);
            var (weights, b) = of.Split(flat);
            var (loss, slope, offset) = (of.Zeros(1), of.Zeros(of._classes, of._f), of.Zeros(of._classes));
            foreach (var (begin, count) in Blocks(of._n, of._f))
            {
                of._cancellationToken.ThrowIfCancellationRequested();
                using var part = NewDisposeScope();
                var (x, target) = (of.Centred(of.Rows(begin, count)), of._labels.narrow(0, begin, count));
                var logp = (x.matmul(weights) + b).log_softmax(1);                                   // [rows, C]
                loss.sub_(logp.gather(1, target).sum());
                var residual = logp.exp();
                residual.scatter_add_(1, target, full([count, 1], -1.0, dtype: ScalarType.Float64, device: x.device));
                slope.add_(residual.t().matmul(x));
                offset.add_(residual.sum([0]));
            }

            var pull = place * penalty;
            var gradient = (cat([slope / of.Deviation, offset.unsqueeze(1)], 1) / of._n) + pull;
            return ((loss / of._n).item<double>() + ((place * pull).sum().item<double>() / 2), gradient.flatten().MoveToOuterDisposeScope());
        }

        /// <summary>No second derivative is below λ, or β for b, so the value is at most ½ Σ g² / (λ or β) too high. This is the duality gap as well.</summary>
        public double Excess(Tensor gradient)
        {
            using var scope = NewDisposeScope();
            return (gradient.view(of._classes, of._f + 1).square() / penalty).sum().item<double>() / 2;
        }

        public Tensor Preconditioned(Tensor flat)
        {
            using var scope = NewDisposeScope();
            if (triangle is not null)
                return flat.unsqueeze(1).cholesky_solve(triangle).flatten().MoveToOuterDisposeScope();
            var gradient = flat.view(of._classes, of._f + 1);
            // What all classes share changes no probability: only λ and β curve it.
            var shared = gradient.mean([0], keepdim: true);
            var (own, decay) = (gradient - shared, penalty.narrow(1, 0, 1));
            var (slope, offset) = (own.narrow(1, 0, of._f), own.narrow(1, of._f, 1) / (0.5 + OffsetDecay));
            slope = of is { _axes: { } axes, _spread: { } spread }
                ? (slope.matmul(axes) / ((spread / 2) + decay)).matmul(axes.t())
                : slope / ((of._f / 2.0) + decay);
            return (cat([slope, offset], 1) + (shared / penalty)).flatten().MoveToOuterDisposeScope();
        }
    }
}

using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Evaluation;

[Collection(TorchCollection.Name)]
public sealed class LinearProbeTests
{
    [Fact]
    public void Fit_ThreeClouds_IsStationary()
    {
        using var scope = NewDisposeScope();
        var (x, labels) = Clouds(90, seed: 1);
        const double decay = 1e-3;
        var model = LinearProbe.Fit(x, labels, 3, decay, tolerance: 1e-12);

        // The gradient at the minimum is 0; written out in loops.
        var (w, mean, deviation, rows) = (Doubles(model.Weights), Doubles(model.Mean), Doubles(model.Deviation), Doubles(x));
        const int f = 5;
        var gradient = new double[3, f + 1];
        for (var i = 0; i < labels.Length; i++)
        {
            double[] z = [.. Enumerable.Range(0, f).Select(j => (rows[(i * f) + j] - mean[j]) / deviation[j]), 1];
            double[] score = [.. Enumerable.Range(0, 3).Select(c => Enumerable.Range(0, f + 1).Sum(j => w[(c * (f + 1)) + j] * z[j]))];
            var total = score.Sum(Math.Exp);
            for (var c = 0; c < 3; c++)
            {
                for (var j = 0; j <= f; j++)
                    gradient[c, j] += ((Math.Exp(score[c]) / total) - (labels[i] == c ? 1 : 0)) * z[j] / labels.Length;
            }
        }

        for (var c = 0; c < 3; c++)
        {
            for (var j = 0; j <= f; j++)
                (gradient[c, j] + ((j < f ? decay : 1e-6) * w[(c * (f + 1)) + j])).ShouldBe(0, 2e-7, $"class {c}, feature {j}");
        }
    }

    public static TheoryData<string, double> Problems()
    {
        var data = new TheoryData<string, double>();
        foreach (var name in (string[])["overlapping", "separable", "constant feature", "collinear", "rank 1", "fewer images than features", "class without images", "far from 0"])
        {
            foreach (var decay in (double[])[1e-1, 1e-3, 1e-6])
                data.Add(name, decay);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Problems))]
    public void Fit_SmallProblem_IsNewtonsMinimum(string name, double decay)
    {
        using var scope = NewDisposeScope();
        var (x, labels, classes) = Problem(name);
        var exact = LinearTwin.Newton(x, labels, classes, decay);

        var model = LinearProbe.Fit(x, labels, classes, decay, tolerance: 1e-9);
        model.Excess.ShouldBeLessThanOrEqualTo(1e-9 * model.Objective);
        (model.Objective - exact.Objective).ShouldBeInRange(-1e-12, model.Excess + 1e-12);
        // W of the same objective lies within √(2 · excess / λ); the scores, which the classes come from, agree better.
        var (mine, twin) = (Scores(model, x), Scores(model with { Weights = exact.Weights }, x));
        (mine - twin).abs().max().item<double>().ShouldBeLessThan(0.01 * (1 + twin.abs().max().item<double>()));

        var early = LinearProbe.Fit(x, labels, classes, decay, tolerance: 0.1);
        (early.Objective - exact.Objective).ShouldBeInRange(-1e-12, early.Excess + 1e-12, "the excess is a bound wherever the search ends");
    }

    [Theory]
    [InlineData(1e-2)]
    [InlineData(1e-6)]
    public void Fit_FromAnotherStart_EndsAtTheSameMinimum(double decay)
    {
        using var scope = NewDisposeScope();
        var (x, labels, _) = Problem("overlapping");
        var first = LinearProbe.Fit(x, labels, 3, decay);
        var second = LinearProbe.Fit(x, labels, 3, decay, first with { Weights = 5 * randn(3, 6, dtype: ScalarType.Float64) });
        second.Objective.ShouldBe(first.Objective, 1e-6 * first.Objective);
        (Scores(first, x) - Scores(second, x)).abs().max().item<double>().ShouldBeLessThan(0.01);
        LinearProbe.Accuracy(second, x, labels).ShouldBe(LinearProbe.Accuracy(first, x, labels));
    }

    [Fact]
    public void Fit_MoreFeaturesThanAxes_EndsAtAMinimumToo()
    {
        using var scope = NewDisposeScope();
        var x = randn(12, LogisticRegression.MostAxes + 1);
        int[] labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2];
        var model = LinearProbe.Fit(x, labels, 3, 1e-2);
        model.Excess.ShouldBeLessThanOrEqualTo(1e-6 * model.Objective);
        LinearProbe.Accuracy(model, x, labels).ShouldBe(1);
    }

    [Fact]
    public void Fit_BySecondDerivativesOfSomeImages_TakesTensOfSteps()
    {
        // Features of very different spread in all directions, as a network's are, and more images than second derivatives are taken of.
        using var scope = NewDisposeScope();
        manual_seed(11);
        var axes = randn(24, 24, dtype: ScalarType.Float64) * exp(linspace(0, -5, 24, dtype: ScalarType.Float64));
        var x = randn(4000, 24, dtype: ScalarType.Float64).matmul(axes);
        var scores = x.matmul(randn(24, 6, dtype: ScalarType.Float64)) + randn(4000, 6, dtype: ScalarType.Float64);
        int[] labels = [.. scores.argmax(1).data<long>().ToArray().Select(c => (int)c)];
        var steps = new List<int>();
        var found = new LogisticRegression(x, labels, rows: null, 6, CancellationToken.None).Minimize(1e-6, null, 1e-9, steps.Add);
        found.Excess.ShouldBeLessThanOrEqualTo(1e-9 * found.Value);
        steps.ShouldBe([.. Enumerable.Range(1, found.Iterations)]);
        found.Iterations.ShouldBeLessThan(80);

        // Below rounding it ends by itself, and not after the most steps.
        new LogisticRegression(x, labels, rows: null, 6, CancellationToken.None).Minimize(1e-3, null, 0, null).Iterations.ShouldBeLessThan(200);

        // The same with constant features beside them, so many that only the bound steers: another way to the same place.
        var wide = cat([x, zeros(4000, LogisticRegression.MostUnknowns / 6, dtype: ScalarType.Float64)], 1);
        var bound = new LogisticRegression(wide, labels, rows: null, 6, CancellationToken.None).Minimize(1e-6, null, 1e-9, null);
        bound.Value.ShouldBe(found.Value, 1e-6 * found.Value);
        bound.Iterations.ShouldBeGreaterThan(found.Iterations);
    }

    [Fact]
    public void Evaluate_OverlappingClouds_IsWhatItsStepsGiveOneByOne()
    {
        using var scope = NewDisposeScope();
        var ((x, labels), (t, test)) = (Clouds(300, seed: 8, noise: 12), Clouds(150, seed: 9, noise: 12));
        var before = x.clone();
        var reports = new List<LinearProgress>();
        var result = LinearProbe.Evaluate(x, labels, t, test, new Reports(reports));

        int[] kept = [.. Enumerable.Range(0, 300).Where(i => i % 6 != 0)], held = [.. Enumerable.Range(0, 300).Where(i => i % 6 == 0)];
        var accuracies = LinearProbe.Decays.Select(d => LinearProbe.Accuracy(
            LinearProbe.Fit(Rows(x, kept), Pick(labels, kept), 3, d), Rows(x, held), Pick(labels, held))).ToArray();
        var tried = reports.Max(r => r.Fit == r.Fits ? 0 : r.Fit);
        var best = Array.IndexOf(accuracies, accuracies[..tried].Max());
        result.Decay.ShouldBe(LinearProbe.Decays[best]);
        result.HeldOutAccuracy.ShouldBe(accuracies[best]);
        tried.ShouldBe(Math.Min(LinearProbe.Decays.Count, best + 3), "two in a row that are no better end it");
        result.Accuracy.ShouldBe(LinearProbe.Accuracy(LinearProbe.Fit(x, labels, 3, result.Decay), t, test));
        result.Excess.ShouldBeLessThanOrEqualTo(LinearProbe.Settled);
        reports[^1].Fit.ShouldBe(reports[^1].Fits);
        (x - before).abs().max().item<double>().ShouldBe(0);
    }

    [Fact]
    public void Evaluate_OtherTestImages_ChoosesTheSameDecay()
    {
        using var scope = NewDisposeScope();
        var ((x, labels), (t, test)) = (Clouds(300, seed: 8, noise: 12), Clouds(150, seed: 9, noise: 12));
        var first = LinearProbe.Evaluate(x, labels, t, test);
        var second = LinearProbe.Evaluate(x, labels, -5 * t, [.. test.Select(l => (l + 1) % 3)]);
        (second.Decay, second.HeldOutAccuracy).ShouldBe((first.Decay, first.HeldOutAccuracy));
        second.Accuracy.ShouldNotBe(first.Accuracy);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Evaluate_ClassOnOneSideOfTheHoldOutOnly_IsNoTrouble(bool held)
    {
        using var scope = NewDisposeScope();
        var (x, labels) = Clouds(120, seed: 10);
        // The hold-out counts places, so the third class is put where it belongs.
        int[] third = [.. Enumerable.Range(0, 120).Where(i => labels[i] == 2)];
        var others = new Queue<int>(Enumerable.Range(0, 120).Where(i => labels[i] != 2));
        var (order, next) = (new List<int>(), 0);
        for (var place = 0; others.Count > 0; place++)
            order.Add(place % 6 == 0 == held && next < 8 ? third[next++] : others.Dequeue());
        var result = LinearProbe.Evaluate(Rows(x, [.. order]), Pick(labels, [.. order]), x, labels);
        result.Excess.ShouldBeLessThanOrEqualTo(LinearProbe.Settled);
        result.Accuracy.ShouldBeGreaterThan(0.9);
    }

    [Fact]
    public void Evaluate_SeparateClouds_IsRightAndShiftedLabelsAreNot()
    {
        using var scope = NewDisposeScope();
        var ((x, labels), (t, test)) = (Clouds(120, seed: 3), Clouds(60, seed: 4));
        var result = LinearProbe.Evaluate(x, labels, t, test);
        result.Accuracy.ShouldBeGreaterThan(0.95);
        result.HeldOutAccuracy.ShouldBeGreaterThan(0.95);
        LinearProbe.Decays.ShouldContain(result.Decay);
        LinearProbe.Evaluate(x, labels, t, [.. test.Select(l => (l + 1) % 3)]).Accuracy.ShouldBeLessThan(0.1);
    }

    [Fact]
    public void Evaluate_WhatDoesNotFit_IsRefused()
    {
        using var scope = NewDisposeScope();
        var (x, labels) = Clouds(12, seed: 5);
        Should.Throw<ArgumentException>(() => LinearProbe.Evaluate(x, labels[1..], x, labels)).Message.ShouldContain("the training set needs features [n, F] and n classes");
        Should.Throw<ArgumentException>(() => LinearProbe.Evaluate(x, labels, x * double.NaN, labels)).Message.ShouldContain("the test set are not finite");
        Should.Throw<ArgumentException>(() => LinearProbe.Evaluate(x.narrow(0, 0, 3), labels[..3], x, labels)).Message.ShouldContain("at least 6 training images");
        Should.Throw<OperationCanceledException>(() => LinearProbe.Evaluate(x, labels, x, labels, cancellationToken: new CancellationToken(canceled: true)));
    }

    internal static (Tensor Features, int[] Labels) Clouds(int count, int seed, double noise = 2)
    {
        var random = new Random(seed);
        int[] labels = [.. Enumerable.Range(0, count).Select(i => (i + (i / 6)) % 3)];
        var rows = labels.SelectMany(l => Enumerable.Range(0, 5).Select(j => (j % 3 == l ? 3 + j : 0) + (noise * (random.NextDouble() + random.NextDouble() - 1)))).ToArray();
        return (tensor(rows).view(count, 5), labels);
    }

    private static (Tensor Features, int[] Labels, int Classes) Problem(string name)
    {
        var (x, labels) = Clouds(60, seed: 2, noise: name == "separable" ? 1 : 10);
        var first = x.narrow(1, 0, 1);
        return name switch
        {
            "constant feature" => (cat([x, full([60, 1], 7.3, dtype: ScalarType.Float64)], 1), labels, 3),
            "collinear" => (cat([x, first * 2, first + x.narrow(1, 1, 1)], 1), labels, 3),
            "rank 1" => (first.matmul(ones(1, 5, dtype: ScalarType.Float64)), labels, 3),
            "fewer images than features" => (x.narrow(0, 0, 4), labels[..4], 3),
            "class without images" => (x, labels, 4),
            "far from 0" => ((x * 1e-3) + 1e4, labels, 3),
            _ => (x, labels, 3),
        };
    }

    private static Tensor Scores(LinearModel model, Tensor x)
    {
        var f = x.shape[1];
        var scores = ((x - model.Mean) / model.Deviation).matmul(model.Weights.narrow(1, 0, f).t()) + model.Weights.narrow(1, f, 1).t();
        return scores - scores.mean([1], keepdim: true);
    }

    private static Tensor Rows(Tensor x, int[] rows) => x.index_select(0, tensor(rows.Select(i => (long)i).ToArray()));

    private static int[] Pick(int[] labels, int[] rows) => [.. rows.Select(i => labels[i])];

    private static double[] Doubles(Tensor t) => t.contiguous().flatten().data<double>().ToArray();

    private sealed class Reports(List<LinearProgress> list) : IProgress<LinearProgress>
    {
        public void Report(LinearProgress value) => list.Add(value);
    }
}

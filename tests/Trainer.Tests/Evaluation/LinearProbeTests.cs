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
        var model = LinearProbe.Fit(x, labels, 3, decay);

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
                (gradient[c, j] + (j < f ? decay * w[(c * (f + 1)) + j] : 0)).ShouldBe(0, 2e-7, $"class {c}, feature {j}");
        }
    }

    [Fact]
    public void Fit_FromAnotherStart_EndsAtTheSameMinimum()
    {
        using var scope = NewDisposeScope();
        var (x, labels) = Clouds(60, seed: 2);
        var first = LinearProbe.Fit(x, labels, 3, 1e-2);
        var second = LinearProbe.Fit(x, labels, 3, 1e-2, first with { Weights = randn(3, 6, dtype: ScalarType.Float64) });
        // The shift of all classes' b together changes nothing, so b is compared without it.
        var (a, b) = (first.Weights.narrow(1, 0, 5), second.Weights.narrow(1, 0, 5));
        (a - b).abs().max().item<double>().ShouldBeLessThan(1e-4);
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
        Should.Throw<OperationCanceledException>(() => LinearProbe.Evaluate(x, labels, x, labels, new CancellationToken(canceled: true)));
    }

    internal static (Tensor Features, int[] Labels) Clouds(int count, int seed)
    {
        var random = new Random(seed);
        int[] labels = [.. Enumerable.Range(0, count).Select(i => (i + (i / 6)) % 3)];
        var rows = labels.SelectMany(l => Enumerable.Range(0, 5).Select(j => (j % 3 == l ? 3 + j : 0) + (2 * (random.NextDouble() + random.NextDouble() - 1)))).ToArray();
        return (tensor(rows).view(count, 5), labels);
    }

    private static double[] Doubles(Tensor t) => t.contiguous().flatten().data<double>().ToArray();
}

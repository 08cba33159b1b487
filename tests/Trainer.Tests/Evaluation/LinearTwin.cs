using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Evaluation;

/// <summary>The linear probe's slow, obvious twin: Newton's method with all second derivatives, in loops.</summary>
internal static class LinearTwin
{
    public static (Tensor Weights, double Objective) Newton(Tensor features, int[] labels, int classes, double decay)
    {
        var (n, f) = (labels.Length, (int)features.shape[1]);
        var rows = features.contiguous().flatten().data<double>().ToArray();
        var x = new double[n][];
        for (var i = 0; i < n; i++)
            x[i] = [.. Enumerable.Range(0, f).Select(j => rows[(i * f) + j]), 1];
        for (var j = 0; j < f; j++)
        {
            var mean = x.Average(r => r[j]);
            var deviation = Math.Max(1e-8, Math.Sqrt(x.Average(r => (r[j] - mean) * (r[j] - mean))));
            foreach (var r in x)
                r[j] = (r[j] - mean) / deviation;
        }

        var size = classes * (f + 1);
        double Penalty(int k) => k % (f + 1) < f ? decay : 1e-6;
        double[] Probabilities(double[] w, double[] r)
        {
            double[] score = [.. Enumerable.Range(0, classes).Select(c => Enumerable.Range(0, f + 1).Sum(j => w[(c * (f + 1)) + j] * r[j]))];
            var most = score.Max();
            var total = score.Sum(s => Math.Exp(s - most));
            return [.. score.Select(s => Math.Exp(s - most) / total)];
        }

        double Value(double[] w) =>
            Enumerable.Range(0, n).Average(i => -Math.Log(Probabilities(w, x[i])[labels[i]])) + (w.Select((v, k) => Penalty(k) * v * v).Sum() / 2);

        var place = new double[size];
        for (var iteration = 0; iteration < 200; iteration++)
        {
            var gradient = place.Select((v, k) => Penalty(k) * v).ToArray();
            var curvature = new double[size, size];
            for (var k = 0; k < size; k++)
                curvature[k, k] = Penalty(k);
            for (var i = 0; i < n; i++)
            {
                var p = Probabilities(place, x[i]);
                for (var k = 0; k < size; k++)
                {
                    var (c, j) = (k / (f + 1), k % (f + 1));
                    gradient[k] += (p[c] - (labels[i] == c ? 1 : 0)) * x[i][j] / n;
                    for (var l = 0; l < size; l++)
                        curvature[k, l] += p[c] * ((c == l / (f + 1) ? 1 : 0) - p[l / (f + 1)]) * x[i][j] * x[i][l % (f + 1)] / n;
                }
            }

            var step = Solve(curvature, gradient);
            if (gradient.Zip(step, (g, s) => g * s).Sum() < 1e-22)
                break;
            var (value, length) = (Value(place), 1.0);
            double[] Moved() => [.. place.Select((v, k) => v - (length * step[k]))];
            while (!(Value(Moved()) <= value) && length > 1e-10)
                length /= 2;
            place = Moved();
        }

        return (tensor(place).view(classes, f + 1), Value(place));
    }

    /// <summary>Gaussian elimination with partial pivoting.</summary>
    private static double[] Solve(double[,] matrix, double[] right)
    {
        var n = right.Length;
        var (a, b) = ((double[,])matrix.Clone(), (double[])right.Clone());
        for (var k = 0; k < n; k++)
        {
            var pivot = Enumerable.Range(k, n - k).MaxBy(i => Math.Abs(a[i, k]));
            for (var j = 0; j < n; j++)
                (a[k, j], a[pivot, j]) = (a[pivot, j], a[k, j]);
            (b[k], b[pivot]) = (b[pivot], b[k]);
            for (var i = k + 1; i < n; i++)
            {
                var factor = a[i, k] / a[k, k];
                for (var j = k; j < n; j++)
                    a[i, j] -= factor * a[k, j];
                b[i] -= factor * b[k];
            }
        }

        for (var k = n - 1; k >= 0; k--)
            b[k] = (b[k] - Enumerable.Range(k + 1, n - k - 1).Sum(j => a[k, j] * b[j])) / a[k, k];
        return b;
    }
}

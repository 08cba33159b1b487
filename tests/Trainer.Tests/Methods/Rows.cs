using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

/// <summary>Embeddings as arrays of rows, for twins that are written out in loops.</summary>
internal static class Rows
{
    public static double[][] Random(int rows, int dimensions, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, rows).Select(_ => Enumerable.Range(0, dimensions).Select(_ => (random.NextDouble() * 2) - 1).ToArray())];
    }

    public static Tensor Tensor(double[][] rows) => tensor([.. rows.SelectMany(r => r)], dtype: ScalarType.Float64).view(rows.Length, rows[0].Length);

    public static double[][] Unit(double[][] rows) => [.. rows.Select(r => r.Select(v => v / Math.Sqrt(Dot(r, r))).ToArray())];

    public static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    public static double Cosine(double[] a, double[] b) => Dot(a, b) / Math.Sqrt(Dot(a, a) * Dot(b, b));

    public static double SquaredDistance(double[] a, double[] b) => a.Zip(b, (x, y) => (x - y) * (x - y)).Sum();

    public static double[] Softmax(IEnumerable<double> logits)
    {
        double[] all = [.. logits];
        double[] powers = [.. all.Select(v => Math.Exp(v - all.Max()))];
        return [.. powers.Select(p => p / powers.Sum())];
    }

    /// <summary>−log softmax(logits) at one of them.</summary>
    public static double Surprise(IEnumerable<double> logits, int at) => -Math.Log(Softmax(logits)[at]);

    /// <summary>−Σ qₖ log pₖ.</summary>
    public static double CrossEntropy(double[] q, double[] p) => -q.Zip(p, (a, b) => a * Math.Log(b)).Sum();

    public static double[][] Of(Tensor t) => [.. SmallMethods.Doubles(t).Chunk((int)t.shape[1])];

    public static double[] Column(double[][] rows, int j) => [.. rows.Select(r => r[j])];

    public static RankShare OneRank(int images) => new(new SingleRank(1), [images]);

    /// <summary>Autograd's gradient of <paramref name="loss"/> at <paramref name="at"/> is that of central differences.</summary>
    public static void ShouldHaveGradientOfDifferences(Func<Tensor, Tensor> loss, double[][] at, double tolerance = 1e-7)
    {
        using var scope = NewDisposeScope();
        var x = Tensor(at).requires_grad_();
        loss(x).backward();
        var gradient = SmallMethods.Doubles(x.grad!);
        const double h = 1e-5;
        var columns = at[0].Length;
        for (var i = 0; i < gradient.Length; i++)
        {
            double Moved(double by)
            {
                double[][] moved = [.. at.Select(r => (double[])r.Clone())];
                moved[i / columns][i % columns] += by;
                using var _ = no_grad();
                return loss(Tensor(moved)).item<double>();
            }

            gradient[i].ShouldBe((Moved(h) - Moved(-h)) / (2 * h), tolerance, $"element {i}");
        }
    }
}

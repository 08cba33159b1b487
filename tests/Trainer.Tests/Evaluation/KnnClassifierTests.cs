using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Evaluation;

[Collection(TorchCollection.Name)]
public sealed class KnnClassifierTests
{
    [Theory]
    [InlineData(1, 0.1)]
    [InlineData(7, 0.1)]
    [InlineData(50, 0.5)]
    [InlineData(300, 0.07)]
    [InlineData(20, 0.005)]     // exp(1 / 0.005) is beyond float32
    public void Classify_RandomFeatures_EqualsTheSlowTwin(int k, double temperature)
    {
        var random = new Random(k);
        var (bank, labels) = Clusters(random, 300);
        var (queries, _) = Clusters(random, 60);
        var options = new KnnOptions { K = k, Temperature = temperature };
        using var scope = NewDisposeScope();
        var classes = new KnnClassifier(options).Classify(Matrix(bank), labels, Matrix(queries));
        classes.ShouldBe(queries.Select(q => Twin(bank, labels, q, options)));
    }

    [Fact]
    public void Accuracy_QueriesFromTheBankWithOneNeighbour_IsOne()
    {
        var (bank, labels) = Clusters(new Random(1), 100);
        using var scope = NewDisposeScope();
        new KnnClassifier(new KnnOptions { K = 1 }).Accuracy(Matrix(bank), labels, Matrix(bank), labels).ShouldBe(1);
    }

    [Fact]
    public void Accuracy_LabelsThatMeanNothing_IsChance()
    {
        var random = new Random(3);
        var (bank, _) = Clusters(random, 2000);
        var labels = Enumerable.Range(0, 2000).Select(_ => random.Next(4)).ToArray();
        using var scope = NewDisposeScope();
        new KnnClassifier(new KnnOptions { K = 20 }).Accuracy(Matrix(bank[..1000]), labels[..1000], Matrix(bank[1000..]), labels[1000..]).ShouldBe(0.25, 0.06);
    }

    [Fact]
    public void Classify_FeaturesOfAnotherLength_CountTheSame()
    {
        var (bank, labels) = Clusters(new Random(4), 80);
        using var scope = NewDisposeScope();
        var knn = new KnnClassifier(new KnnOptions { K = 5 });
        knn.Classify(Matrix(bank) * 17, labels, Matrix(bank) * 0.01).ShouldBe(knn.Classify(Matrix(bank), labels, Matrix(bank)));
    }

    [Fact]
    public void Classify_BankSmallerThanK_SaysSo() => Refused(new KnnOptions { K = 5 }, bankRows: 4, queryRows: 1, "k is 5, but the bank holds only 4 images");

    [Fact]
    public void Classify_NoQueries_SaysSo() => Refused(new KnnOptions { K = 1 }, bankRows: 4, queryRows: 0, "at least one query");

    [Fact]
    public void Classify_BadOptions_NamesAll() => Refused(new KnnOptions { K = 0, Temperature = 0 }, 4, 1, "evaluation.knn.k: 0 is below 1; evaluation.knn.temperature: 0");

    [Fact]
    public void Classify_FeaturesThatAreNotFinite_SaysSo()
    {
        using var scope = NewDisposeScope();
        var bank = ones(4, 3);
        Should.Throw<ArgumentException>(() => new KnnClassifier(new KnnOptions { K = 1 }).Classify(bank, [0, 0, 1, 1], ones(1, 3) * float.NaN))
            .Message.ShouldContain("features of the queries are not finite");
    }

    [Fact]
    public void Std_RandomUnitVectors_IsNearOneByRootD()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        EmbeddingDiagnostics.Std(nn.functional.normalize(randn(4000, 64), dim: 1)).ShouldBe(1 / 8.0, 0.002);
        EmbeddingDiagnostics.Std(ones(10, 64) / 8).ShouldBe(0, 1e-6);
    }

    [Fact]
    public void Pixels_GrayImages_TakeOneChannel()
    {
        using var scope = NewDisposeScope();
        var gray = Enumerable.Range(0, 2 * 4).SelectMany(i => Enumerable.Repeat((byte)(i * 20), 3)).ToArray();
        var pixels = FeatureExtractor.Pixels(gray, 2);
        pixels.shape.ShouldBe([2, 4]);
        pixels.flatten().data<float>().ToArray().ShouldBe(Enumerable.Range(0, 8).Select(i => i * 20 / 255f), 1e-6);
        gray[0] ^= 1;
        FeatureExtractor.Pixels(gray, 2).shape.ShouldBe([2, 12]);
    }

    [Fact]
    public void Pixels_BytesThatAreNotWholeImages_SaysSo() =>
        Should.Throw<ArgumentException>(() => FeatureExtractor.Pixels(new byte[100], 16)).Message.ShouldContain("100 bytes are not whole images of 16×16×3");

    private static void Refused(KnnOptions options, int bankRows, int queryRows, string message)
    {
        using var scope = NewDisposeScope();
        Should.Throw<ArgumentException>(() => new KnnClassifier(options).Classify(ones(bankRows, 3), new int[bankRows], ones(queryRows, 3)))
            .Message.ShouldContain(message);
    }

    private static int Twin(double[][] bank, int[] labels, double[] query, KnnOptions options)
    {
        var votes = new double[labels.Max() + 1];
        foreach (var (similarity, label) in bank.Select((b, i) => (Cosine(b, query), labels[i])).OrderByDescending(x => x.Item1).Take(options.K))
            votes[label] += Math.Exp((similarity - 1) / options.Temperature);
        return Array.IndexOf(votes, votes.Max());
    }

    private static double Cosine(double[] a, double[] b) =>
        a.Zip(b, (x, y) => x * y).Sum() / Math.Sqrt(a.Sum(x => x * x) * b.Sum(x => x * x));

    private static (double[][] Features, int[] Labels) Clusters(Random random, int count)
    {
        var labels = Enumerable.Range(0, count).Select(_ => random.Next(4)).ToArray();
        return (labels.Select(l => Enumerable.Range(0, 8).Select(d => random.NextDouble() - 0.5 + (d == l ? 0.4 : 0)).ToArray()).ToArray(), labels);
    }

    private static Tensor Matrix(double[][] rows) =>
        tensor(rows.SelectMany(r => r.Select(x => (float)x)).ToArray()).view(rows.Length, rows[0].Length);
}

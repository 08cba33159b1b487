using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Evaluation;

[Collection(TorchCollection.Name)]
public sealed class KnnEvaluationTests : IDisposable
{
    private const int Size = 16;
    private static readonly ResNetOptions Model = new() { Width = 8, Stem = ResNetStem.SmallStride2 };
    private readonly string _folder = Directory.CreateTempSubdirectory("knn").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Run_ClassesThatBrightnessTells_BeatsChanceTwiceTheSame()
    {
        var request = Request(bank: 300, queries: 60);
        var seen = new List<int>();
        var result = KnnEvaluation.Run(request, new Seen(seen));
        result.BankCount.ShouldBe(300);
        result.QueryCount.ShouldBe(60);
        result.Accuracy.ShouldBeGreaterThan(0.6, "an untrained network keeps brightness; chance is a third");
        result.RawPixelAccuracy.ShouldBeGreaterThan(0.6);
        seen[^1].ShouldBe(360);
        seen.ShouldBeInOrder();
        KnnEvaluation.Run(request).ShouldBe(result with { EncodeImagesPerSecond = 0 }, new IgnoringRate());
    }

    [Fact]
    public void Run_Cancelled_Stops() =>
        Should.Throw<OperationCanceledException>(() => KnnEvaluation.Run(Request(20, 5), cancellationToken: new CancellationToken(canceled: true)));

    [Fact]
    public void Run_BytesThatAreNotWholeImages_SaysSo()
    {
        var request = Request(20, 5);
        Should.Throw<ArgumentException>(() => KnnEvaluation.Run(request with { Bank = request.Bank with { Images = new byte[100] } }))
            .Message.ShouldContain("100 bytes are not whole images of 16×16×3");
    }

    private KnnRequest Request(int bank, int queries)
    {
        var path = Path.Combine(_folder, "encoder.safetensors");
        manual_seed(1);
        using (var net = new ResNet(Model, new Normalization(TorchStack.Current, null)))
            BackboneExport.Write(net, path, [0.5f, 0.5f, 0.5f], [0.25f, 0.25f, 0.25f], Size);
        return new KnnRequest
        {
            Path = path,
            Model = Model,
            Mean = [0.5f, 0.5f, 0.5f],
            Std = [0.25f, 0.25f, 0.25f],
            Precision = Precision.Float32,
            Bank = Images(bank, seed: 1),
            Queries = Images(queries, seed: 2),
            Options = new KnnOptions { K = 10 },
        };
    }

    /// <summary>Three classes: dark, dark at the left, dark at the right; and noise.</summary>
    private static EvaluationImages Images(int count, int seed)
    {
        var random = new Random(seed);
        var labels = Enumerable.Range(0, count).Select(i => i % 3).ToArray();
        var bytes = labels.SelectMany(label => Enumerable.Range(0, Size * Size).SelectMany(p =>
        {
            var dark = label == 0 || (label == 1) == (p % Size < Size / 2);
            return Enumerable.Range(0, 3).Select(_ => (byte)((dark ? 30 : 200) + random.Next(40)));
        })).ToArray();
        return new EvaluationImages(bytes, labels, Size);
    }

    private sealed class Seen(List<int> seen) : IProgress<int>
    {
        public void Report(int value) => seen.Add(value);
    }

    private sealed class IgnoringRate : IEqualityComparer<KnnResult>
    {
        public bool Equals(KnnResult? x, KnnResult? y) => x! with { EncodeImagesPerSecond = 0 } == y! with { EncodeImagesPerSecond = 0 };

        public int GetHashCode(KnnResult result) => 0;
    }
}

using System.Diagnostics;
using DarkMatter.Data;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>Images with classes.</summary>
/// <param name="Images">Bytes [count, size, size, 3].</param>
/// <param name="Labels">One class per image, 0 and above.</param>
/// <param name="Size">Height and width in pixels.</param>
public sealed record EvaluationImages(ReadOnlyMemory<byte> Images, IReadOnlyList<int> Labels, int Size)
{
    /// <summary>The images of a dataset.</summary>
    public static EvaluationImages From(LabeledImages images) => new(images.Images, images.Labels, images.Size);
}

/// <summary>What is to be judged, and on what.</summary>
public sealed record KnnRequest
{
    /// <summary>A checkpoint folder, or an exported safetensors file.</summary>
    public required string Path { get; init; }

    /// <summary>The backbone in it.</summary>
    public required BackboneOptions Model { get; init; }

    /// <summary>As in training.</summary>
    public required IReadOnlyList<float> Mean { get; init; }

    /// <summary>As in training.</summary>
    public required IReadOnlyList<float> Std { get; init; }

    /// <summary>What the backbone computes in. Default <see cref="Precision.Auto"/>.</summary>
    public Precision Precision { get; init; } = Precision.Auto;

    /// <summary>Images whose classes are known to the classifier.</summary>
    public required EvaluationImages Bank { get; init; }

    /// <summary>Images whose classes it tells.</summary>
    public required EvaluationImages Queries { get; init; }

    /// <summary>k and τ.</summary>
    public KnnOptions Options { get; init; } = new();
}

/// <summary>What the classifier reached.</summary>
/// <param name="Accuracy">On backbone features, 0 to 1.</param>
/// <param name="RawPixelAccuracy">On the pixels themselves, same classifier, same images.</param>
/// <param name="BankCount">Images in the bank.</param>
/// <param name="QueryCount">Images classified.</param>
/// <param name="EncodeImagesPerSecond">How fast the backbone was.</param>
public sealed record KnnResult(double Accuracy, double RawPixelAccuracy, int BankCount, int QueryCount, double EncodeImagesPerSecond);

/// <summary>Judges a backbone by its neighbours, beside what the pixels alone are worth.</summary>
public static class KnnEvaluation
{
    /// <summary>Encodes both sets and classifies the queries, by features and by pixels.</summary>
    /// <param name="request">What and on what.</param>
    /// <param name="progress">Told the images encoded so far, of bank and queries together.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <exception cref="ArgumentException">The options or the images do not fit; see <see cref="KnnClassifier.Classify"/>.</exception>
    /// <exception cref="CheckpointException">The file holds another network.</exception>
    /// <exception cref="SafetensorsException">The file is damaged.</exception>
    public static KnnResult Run(KnnRequest request, IProgress<int>? progress = null, CancellationToken cancellationToken = default)
    {
        var stack = TorchStack.Current;
        var file = Directory.Exists(request.Path) ? System.IO.Path.Combine(request.Path, CheckpointFolder.ModelName) : request.Path;
        using var backbone = BackboneExport.Read(request.Model, file, stack);
        using var scope = NewDisposeScope();
        var bfloat16 = request.Precision == Precision.BFloat16 || (request.Precision == Precision.Auto && stack.PrefersBFloat16);
        var extractor = new FeatureExtractor(stack, request.Mean, request.Std);
        var (bank, queries, knn) = (request.Bank, request.Queries, new KnnClassifier(request.Options));

        var start = Stopwatch.GetTimestamp();
        var bankFeatures = extractor.Features(backbone, bank.Images, bank.Size, bfloat16, progress, cancellationToken);
        var offset = progress is null ? null : new Progress(done => progress.Report(bank.Labels.Count + done));
        var queryFeatures = extractor.Features(backbone, queries.Images, queries.Size, bfloat16, offset, cancellationToken);
        var rate = (bank.Labels.Count + queries.Labels.Count) / Stopwatch.GetElapsedTime(start).TotalSeconds;

        var accuracy = knn.Accuracy(bankFeatures, bank.Labels, queryFeatures, queries.Labels, cancellationToken);
        var raw = knn.Accuracy(
            FeatureExtractor.Pixels(bank.Images, bank.Size), bank.Labels, FeatureExtractor.Pixels(queries.Images, queries.Size), queries.Labels, cancellationToken);
        return new KnnResult(accuracy, raw, bank.Labels.Count, queries.Labels.Count, rate);
    }

    /// <summary>Reports at once, on the caller's thread.</summary>
    private sealed class Progress(Action<int> report) : IProgress<int>
    {
        public void Report(int value) => report(value);
    }
}

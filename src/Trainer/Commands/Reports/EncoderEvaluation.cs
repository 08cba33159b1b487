using System.Diagnostics;
using System.Globalization;
using DarkMatter.Data;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>What the nearest neighbours said.</summary>
/// <param name="Accuracy">By trained features, 0 to 1.</param>
/// <param name="RawPixelAccuracy">By pixels, of the same images.</param>
/// <param name="Bank">Images the neighbours came from.</param>
/// <param name="Queries">Images asked about.</param>
/// <param name="Linear">What a linear classifier on the same features reached, when it was asked for.</param>
/// <param name="LinearRawPixels">What one on the pixels of the same images reached, when it was asked for.</param>
internal sealed record EncoderScores(
    double Accuracy, double RawPixelAccuracy, int Bank, int Queries, LinearResult? Linear = null, LinearResult? LinearRawPixels = null);

/// <summary>Judges a trained encoder by its nearest neighbours, and the raw pixels by the same rule.</summary>
/// <param name="recipe">The run's recipe.</param>
/// <param name="output">Gets progress.</param>
internal sealed class EncoderEvaluation(Recipe recipe, Output output)
{
    private const int LeastBank = 5000;
    private const int LeastQueries = 1000;
    private const int TimedImages = 512;

    /// <summary>Evaluates the backbone of a checkpoint or an export.</summary>
    /// <param name="weights">The model files of a checkpoint, or an export.</param>
    /// <param name="bankPath">Labelled images the neighbours come from.</param>
    /// <param name="queryPath">Labelled images asked about.</param>
    /// <param name="limit">Time it may take: a smaller bank is used when the whole would take longer. Null: the whole.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="linear">Whether a linear classifier is trained on the bank and tested on the queries as well.</param>
    /// <param name="linearRawPixels">Whether one is trained on the raw pixels too: minutes, for 60,000 gray images of 28×28.</param>
    public EncoderScores Run(
        IReadOnlyList<string> weights, string bankPath, string queryPath, TimeSpan? limit, CancellationToken cancellationToken,
        bool linear = false, bool linearRawPixels = false)
    {
        var stack = TorchStack.Current;
        stack.SetThreads(Environment.ProcessorCount);
        var bfloat16 = UsesBFloat16(recipe.Train.Precision, stack);
        var size = recipe.Views[0].View.Size;
        using var backbone = BackboneExport.Read(recipe.Model, weights, stack, recipe.Method.ExportedPart);
        var extractor = new FeatureExtractor(stack, Floats(recipe.Data.Mean), Floats(recipe.Data.Std));

        var (bankTotal, queryTotal) = (Limited(bankPath, recipe.Evaluation.Bank), Limited(queryPath, recipe.Evaluation.Queries));
        var (bankCount, queryCount) = (bankTotal, queryTotal);
        if (limit is { } time)
        {
            var sample = LabeledImages.Load(queryPath, size, TimedImages, cancellationToken);
            // Half of the time goes to the similarities, the pixels' among them; the other half buys features.
            var rate = MeasureRate(extractor, backbone, sample, bfloat16, cancellationToken);
            (bankCount, queryCount) = TimePlan.ImagesThatFit(time / 2, rate, bankTotal, queryTotal, LeastBank, LeastQueries);
        }
        var queries = LabeledImages.Load(queryPath, size, queryCount, cancellationToken);
        var bank = LabeledImages.Load(bankPath, size, bankCount, cancellationToken);
        if (bank.Count < recipe.Evaluation.Knn.K)
        {
            throw new CommandException(ExitCode.BadRequest, $"evaluation.knn.k is {recipe.Evaluation.Knn.K}, but {bankPath} has only {bank.Count} images; choose a smaller k");
        }

        var knn = new KnnClassifier(recipe.Evaluation.Knn);
        using var bankFeatures = extractor.Features(backbone, bank.Images, size, bfloat16, output.Counter("evaluating: features of the bank", bank.Count), cancellationToken);
        using var queryFeatures = extractor.Features(backbone, queries.Images, size, bfloat16, output.Counter("evaluating: features of the queries", queries.Count), cancellationToken);
        var accuracy = knn.Accuracy(bankFeatures, bank.Labels, queryFeatures, queries.Labels, cancellationToken);
        output.Progress(() => "evaluating: raw pixels");
        using var bankPixels = FeatureExtractor.Pixels(bank.Images, size);
        using var queryPixels = FeatureExtractor.Pixels(queries.Images, size);
        var raw = knn.Accuracy(bankPixels, bank.Labels, queryPixels, queries.Labels, cancellationToken);
        output.Progress(() => string.Create(CultureInfo.InvariantCulture, $"evaluated: kNN {accuracy * 100:0.0} %, raw pixels {raw * 100:0.0} %{(bank.Count < bankTotal || queries.Count < queryTotal ? $" ({bank.Count:N0} of {bankTotal:N0} bank images and {queries.Count:N0} of {queryTotal:N0} queries, for lack of time)" : "")}"), final: true);
        return new EncoderScores(
            accuracy, raw, bank.Count, queries.Count,
            linear ? Linear("features", bankFeatures, queryFeatures) : null,
            linearRawPixels ? Linear("raw pixels", bankPixels, queryPixels) : null);

        LinearResult Linear(string what, TorchSharp.torch.Tensor known, TorchSharp.torch.Tensor asked)
        {
            var found = LinearProbe.Evaluate(known, bank.Labels, asked, queries.Labels, new LinearCounter(output, what), cancellationToken);
            output.Progress(() => string.Create(CultureInfo.InvariantCulture, $"evaluated: linear classifier on {what} {found.Accuracy * 100:0.0} %{(found.Excess > LinearProbe.Settled ? $" (its search ended early: the objective may still lie {found.Excess:0.0e+0} of itself above the least)" : "")}"), final: true);
            return found;
        }
    }

    /// <summary>Whether this machine trains and evaluates the recipe in bfloat16.</summary>
    public static bool UsesBFloat16(Precision precision, ITorchStack stack) =>
        precision == Precision.BFloat16 || (precision == Precision.Auto && stack.PrefersBFloat16);

    internal static IReadOnlyList<float> Floats(IReadOnlyList<double> values) => [.. values.Select(value => (float)value)];

    private static int Limited(string dataset, int limit)
    {
        var all = (int)Math.Min(int.MaxValue, Catalog.Load(dataset).SampleCount);
        return limit > 0 ? Math.Min(limit, all) : all;
    }

    private static double MeasureRate(FeatureExtractor extractor, Backbone backbone, LabeledImages images, bool bfloat16, CancellationToken cancellationToken)
    {
        var each = images.Size * images.Size * 3;
        var count = Math.Min(images.Count, TimedImages);
        extractor.Features(backbone, images.Images.AsMemory(0, Math.Min(count, 256) * each), images.Size, bfloat16, null, cancellationToken).Dispose();
        var clock = Stopwatch.StartNew();
        extractor.Features(backbone, images.Images.AsMemory(0, count * each), images.Size, bfloat16, null, cancellationToken).Dispose();
        return count / Math.Max(clock.Elapsed.TotalSeconds, 1e-3);
    }

    private sealed class LinearCounter(Output output, string what) : IProgress<LinearProgress>
    {
        public void Report(LinearProgress value) => output.Progress(
            () => string.Create(CultureInfo.InvariantCulture, $"evaluating: linear classifier on {what}, fit {value.Fit} of at most {value.Fits} (weight decay {value.Decay:0e+0}), step {value.Iteration:N0}"));
    }
}

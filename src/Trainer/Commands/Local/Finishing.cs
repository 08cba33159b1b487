using System.Diagnostics;
using DarkMatter.Data;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Commands.Reports;
using DarkMatter.Trainer.Commands.Sessions;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>What follows training: evaluation, export, summary and report.</summary>
internal sealed class Finishing(PretrainRequest request, RunFolder folder, Output output)
{
    private const int LossWindow = 20;

    /// <summary>Does all of it, and writes <c>summary.json</c> and <c>report.html</c>.</summary>
    public Task<RunSummary> RunAsync(
        Recipe recipe, Catalog catalog, bool evaluate, RunStatus? status, OpenCheckpoint trained, TimePlan? plan, Stopwatch clock, CancellationToken stop) =>
        Task.Factory.StartNew(() => Run(recipe, catalog, evaluate, status, trained, plan, clock, stop), stop, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private RunSummary Run(
        Recipe recipe, Catalog catalog, bool evaluate, RunStatus? status, OpenCheckpoint trained, TimePlan? plan, Stopwatch clock, CancellationToken stop)
    {
        EncoderScores? knn = evaluate ? new EncoderEvaluation(recipe, output).Run(trained.ModelFiles, recipe.Data.Dataset, recipe.Data.Evaluation, plan?.EvaluationAfter(clock.Elapsed), stop) : null;
        Export(recipe, trained.ModelFiles, folder.ExportPath);

        var rows = File.Exists(folder.StepsPath) ? StepLog.Read(folder.StepsPath).ToList() : [];
        var canonical = File.ReadAllText(folder.RecipePath);
        var summary = new RunSummary
        {
            Run = request.Run,
            Knn = knn?.Accuracy,
            KnnRawPixels = knn?.RawPixelAccuracy,
            KnnBank = knn?.Bank,
            KnnQueries = knn?.Queries,
            ImagesPerSecond = Median([.. rows.Select(row => row.ImagesPerSecond)]),
            Steps = trained.Step,
            Epochs = Math.Round((double)trained.Step * recipe.Train.Batch / catalog.SampleCount, 3),
            Seconds = Math.Round(clock.Elapsed.TotalSeconds, 1),
            TrainingSeconds = Math.Round(rows.Sum(row => row.Seconds), 1),
            Loss = rows.Count > 0 ? rows.TakeLast(LossWindow).Average(row => row.Loss) : null,
            Health = WatchLog.Read(folder.WatchPath).LastOrDefault()?.Verdict,
            Checkpoint = SelfInvocation.Shorten(trained.Path),
            Export = SelfInvocation.Shorten(folder.ExportPath),
            Report = SelfInvocation.Shorten(folder.ReportPath),
            Curve = SelfInvocation.Shorten(folder.StepsPath),
            Precision = recipe.Train.Precision == Precision.Float64 ? "float64" : EncoderEvaluation.UsesBFloat16(recipe.Train.Precision, TorchStack.Current) ? "bfloat16" : "float32",
            World = status?.World ?? request.Trainers,
            Batch = recipe.Train.Batch,
            Samples = catalog.SampleCount,
            Quarantined = status?.Quarantined ?? 0,
            RecipeDigest = ResolvedRecipe.Parse(canonical, folder.RecipePath, folder.Path).Digest,
        };
        File.WriteAllText(folder.ReportPath, HtmlReport.Write(summary, rows, canonical));
        summary.Write(folder.SummaryPath);
        return summary;
    }

    /// <summary>Writes the backbone of a checkpoint with torchvision's names.</summary>
    public static void Export(Recipe recipe, IReadOnlyList<string> weights, string path)
    {
        using var backbone = BackboneExport.Read(recipe.Model, weights, TorchStack.Current, recipe.Method.ExportedPart);
        BackboneExport.Write(backbone, path, EncoderEvaluation.Floats(recipe.Data.Mean), EncoderEvaluation.Floats(recipe.Data.Std), recipe.Views[0].View.Size);
    }

    private static double Median(double[] values)
    {
        if (values.Length == 0)
        {
            return 0;
        }
        Array.Sort(values);
        return Math.Round(values.Length % 2 == 1 ? values[values.Length / 2] : (values[(values.Length / 2) - 1] + values[values.Length / 2]) / 2, 1);
    }
}

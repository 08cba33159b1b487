using System.Diagnostics;
using DarkMatter.Data;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Commands.Reports;
using DarkMatter.Trainer.Recipes;

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>The whole of <c>darkmatter pretrain</c>: datasets, training, evaluation, export, report.</summary>
internal sealed class Pretraining(PretrainRequest request, Output output)
{
    private readonly Stopwatch clock = Stopwatch.StartNew();

    /// <summary>Runs it to the summary.</summary>
    /// <param name="recipe">The recipe with all overrides.</param>
    /// <param name="stop">Cancelled to stop gracefully.</param>
    /// <exception cref="CommandException">It cannot be carried out, or a process was lost.</exception>
    public async Task<RunSummary> RunAsync(ResolvedRecipe recipe, CancellationToken stop)
    {
        using var folder = RunFolder.Claim(request.Output, request.Run);
        if (!request.Resume && !request.Overwrite && folder.HasRun)
        {
            folder.Prepare(request.Run, recipe, resume: false, overwrite: false);
        }
        var options = recipe.Recipe;
        var catalog = await Datasets.EnsureAsync("data.dataset", options.Data.Dataset, options.Data.Source, output, stop);
        CheckSize(catalog, options);
        Catalog? evaluation = null;
        if (request.Evaluate && options.Data.Evaluation.Length > 0)
        {
            evaluation = await Datasets.EnsureAsync("data.evaluation", options.Data.Evaluation, options.Data.EvaluationSource, output, stop);
        }

        var whole = request.Time ?? options.Local.Time;
        var plan = whole is { } time ? TimePlan.Split(time, evaluation is not null) : null;
        var original = folder.Prepare(request.Run, recipe, request.Resume, request.Overwrite);
        var running = ResolvedRecipe.Parse(original, folder.RecipePath, folder.Path);
        var resumeFrom = request.Resume ? NewestWhole(folder) : null;
        Introduce(recipe.Recipe, catalog, folder, resumeFrom, whole);

        DateTime? trainUntil = plan is null ? null : DateTime.UtcNow + (plan.TrainUntil - clock.Elapsed);
        var status = await TrainAsync(folder, running, catalog, resumeFrom, trainUntil, stop);
        var trained = CheckpointFolder.All(folder.Path) is { Count: > 0 } all
            ? all[^1]
            : throw new CommandException(ExitCode.Failed, $"run '{request.Run}' completed without a checkpoint in {folder.Path}; its logs say more");
        var finishing = new Finishing(request, folder, output);
        return await finishing.RunAsync(recipe.Recipe, catalog, evaluation is not null, status, trained, plan, clock, stop);
    }

    private async Task<RunStatus?> TrainAsync(RunFolder folder, ResolvedRecipe recipe, Catalog catalog, (long Step, string Path)? resumeFrom, DateTime? trainUntil, CancellationToken stop)
    {
        if (resumeFrom is { } checkpoint)
        {
            var progress = CheckpointFolder.ReadManifest(checkpoint.Path).Progress;
            if (progress.Step >= progress.TotalSteps)
            {
                output.Line($"the run has made all of its {progress.TotalSteps} steps; what is left is to evaluate it");
                return null;
            }
        }
        return await new LocalTraining(request, folder, output).RunAsync(recipe, catalog, resumeFrom, trainUntil, stop);
    }

    /// <summary>The newest checkpoint whose files are all there and unchanged; the broken ones above it are named.</summary>
    private (long Step, string Path)? NewestWhole(RunFolder folder)
    {
        foreach (var (step, path) in CheckpointFolder.All(folder.Path).Reverse())
        {
            try
            {
                CheckpointFolder.Verify(path);
                return (step, path);
            }
            catch (CheckpointException e)
            {
                output.Line($"passing over a broken checkpoint: {e.Message}");
            }
        }
        return null;
    }

    private void CheckSize(Catalog catalog, Recipe recipe)
    {
        if (catalog.SampleCount < recipe.Train.Batch)
        {
            throw new CommandException(ExitCode.BadRequest,
                $"{request.RecipePath}: train.batch is {recipe.Train.Batch}, but the dataset in {recipe.Data.Dataset} has only {catalog.SampleCount} images; choose a smaller batch or a larger dataset");
        }
    }

    private void Introduce(Recipe recipe, Catalog catalog, RunFolder folder, (long Step, string Path)? resumeFrom, TimeSpan? whole)
    {
        output.Line($"run        {request.Run} in {SelfInvocation.Shorten(folder.Path)}");
        output.Line($"dataset    {SelfInvocation.Shorten(recipe.Data.Dataset)}: {catalog.SampleCount:N0} images in {catalog.Shards.Count} shards");
        output.Line($"model      resnet{recipe.Model.Depth}, width {recipe.Model.Width}; batch {recipe.Train.Batch} over {request.Trainers} trainer{(request.Trainers == 1 ? "" : "s")}"
            + (whole is { } time ? $"; {TimeSpans.Format(time)} for everything" : ""));
        if (resumeFrom is { } checkpoint)
        {
            output.Line($"resume     from step {checkpoint.Step}, {SelfInvocation.Shorten(checkpoint.Path)}");
        }
        else if (request.Resume)
        {
            output.Line("resume     no checkpoint was written yet: from the beginning");
        }
    }
}

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
        using var checkpoints = CheckpointStores.Open(running.Recipe.Checkpoints, request.Run, folder.Path);
        var manifest = await PrepareAsync(checkpoints, stop);
        (long Step, string Path)? resumeFrom = manifest is null ? null : (manifest.Progress.Step, checkpoints.PathOf(manifest.Progress.Step));
        Introduce(recipe.Recipe, catalog, folder, resumeFrom, whole);

        Func<TimeSpan>? timeLeft = plan is null ? null : () => plan.TrainUntil - clock.Elapsed;
        var status = manifest is { Progress: { } progress } && progress.Step >= progress.TotalSteps
            ? NothingToTrain(progress)
            : await new LocalTraining(request, folder, output).RunAsync(running, catalog, resumeFrom, timeLeft, stop);
        using var trained = await checkpoints.OpenNewestWholeAsync(output.Line, stop)
            ?? throw new CommandException(ExitCode.Failed, $"run '{request.Run}' completed without a checkpoint in {checkpoints.Location}; its logs say more");
        var finishing = new Finishing(request, folder, output);
        return await finishing.RunAsync(recipe.Recipe, catalog, evaluation is not null, status, trained, plan, clock, stop);
    }

    private RunStatus? NothingToTrain(TrainingProgress progress)
    {
        output.Line($"the run has made all of its {progress.TotalSteps} steps; what is left is to evaluate it");
        return null;
    }

    /// <summary>
    /// The newest checkpoint to go on from, if any; the broken ones above it are named. A run that starts over has none: what an earlier run
    /// of this name left in a blob store goes, as its folder does.
    /// </summary>
    private async Task<CheckpointManifest?> PrepareAsync(CheckpointStore checkpoints, CancellationToken stop)
    {
        if (request.Resume)
        {
            return await checkpoints.FindNewestWholeAsync(output.Line, stop);
        }
        if (await checkpoints.ListAsync(stop) is { Count: > 0 } left && !request.Overwrite)
        {
            throw new CommandException(ExitCode.BadRequest,
                $"run '{request.Run}' has {left.Count} checkpoints already in {checkpoints.Location}. Start it over (--overwrite), or give this run another name (--run)");
        }
        await checkpoints.ClearAsync(stop);
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
        output.Line($"model      {recipe.Model}; batch {recipe.Train.Batch} over {request.Trainers} trainer{(request.Trainers == 1 ? "" : "s")}"
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

using DarkMatter.Data;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>
/// All of a run that a trainer can have ready before it has a place: recipe, dataset, networks, compiled code. It outlives generations.
/// </summary>
internal sealed class PreparedRun : IDisposable
{
    private static readonly TimeSpan LeastBudget = TimeSpan.FromSeconds(3);

    private readonly TrainerProcessOptions options;
    private readonly Recipe recipe;
    private readonly string dataset;
    private readonly TrainOptions train;

    private PreparedRun(TrainerProcessOptions options, Recipe recipe, string dataset, TrainOptions train)
    {
        (this.options, this.recipe, this.dataset, this.train) = (options, recipe, dataset, train);
        State = TrainState.Prepare(train, TorchStack.Current);
        State.WarmUp(train);
    }

    /// <summary>What is trained.</summary>
    public TrainState State { get; }

    /// <summary>Builds what the silo describes.</summary>
    /// <exception cref="CommandException">The dataset here is another one than the run's.</exception>
    public static PreparedRun Create(TrainerProcessOptions options, Standby run)
    {
        var recipe = ResolvedRecipe.Parse(run.RecipeYaml, $"the recipe of run '{options.Run}'", options.RunFolder).Recipe;
        var dataset = options.Dataset ?? recipe.Data.Dataset;
        var catalog = Catalog.Load(dataset);
        if (run.DatasetDigest is { Length: > 0 } wanted && wanted != catalog.Digest)
        {
            throw new CommandException(
                ExitCode.BadRequest,
                $"the dataset {dataset} is not the one that run '{options.Run}' trains on: its catalog has digest {catalog.Digest}, the run's has {wanted}. "
                + "Give --dataset the same dataset, or start another run for this one");
        }
        var lanes = run.LaneCount > 0 ? run.LaneCount : recipe.Data.Lanes;
        return new PreparedRun(options, recipe, dataset, new TrainOptions
        {
            Run = options.Run,
            Seed = recipe.Seed,
            GlobalBatch = recipe.Train.Batch,
            LaneCount = lanes,
            FirstLane = 0,
            Lanes = lanes,
            DatasetImages = catalog.SampleCount,
            ImageSize = recipe.Views[0].View.Size,
            Mean = [.. recipe.Data.Mean.Select(value => (float)value)],
            Std = [.. recipe.Data.Std.Select(value => (float)value)],
            TotalSteps = recipe.StepsFor(catalog.SampleCount),
            Precision = recipe.Train.Precision,
            SyncBatchNorm = recipe.Train.SyncBatchNorm,
            Model = recipe.Model,
            ViewSizes = [.. recipe.AllViews.Select(view => view.Size)],
            Method = recipe.Method,
            Optimizer = recipe.Optimizer,
            RunDirectory = options.RunFolder,
            CheckpointEvery = recipe.Train.CheckpointEvery,
            Retention = recipe.Checkpoints.Retention,
            Store = CheckpointStores.Open(recipe.Checkpoints, options.Run, options.RunFolder),
            Recipe = run.RecipeYaml,
            HashEvery = recipe.Train.HashEvery,
            Watch = recipe.Watch,
            BucketBytes = recipe.Train.BucketBytes,
            Threads = options.Threads,
        });
    }

    /// <summary>The options of a place in a generation.</summary>
    public TrainOptions At(Assignment assignment) => train with
    {
        FirstLane = assignment.Lanes[0],
        Lanes = assignment.Lanes.Count,
        TotalSteps = assignment.TotalSteps > 0 ? assignment.TotalSteps : train.TotalSteps,
        Budget = assignment.TotalSteps > 0 ? null : Budget,
        ResumeFrom = assignment.CheckpointPath.Length > 0 ? assignment.CheckpointPath : null,
        ResumeStep = assignment.CheckpointStep,
        ResumeGeneration = assignment.CheckpointGeneration,
        SaveOnly = assignment.SaveOnly,
    };

    /// <summary>Opens the batches of a place and begins to read them.</summary>
    public LoaderViews Open(Assignment assignment, long startStep, TrainerSession session)
    {
        var loader = PretrainLoader.Open(new PretrainLoaderOptions
        {
            DatasetPath = dataset,
            Seed = recipe.Seed,
            LaneCount = train.LaneCount,
            Lanes = [.. assignment.Lanes],
            GlobalBatch = recipe.Train.Batch,
            StartStep = startStep,
            Views = recipe.AllViews,
            BlockSize = recipe.Data.Block,
            Workers = recipe.Data.Workers,
            PrefetchBatches = recipe.Data.Prefetch,
        });
        loader.Quarantined += sample =>
        {
            session.Note($"broken image {sample.Key} ({sample.Reason}) replaced by {sample.ReplacementKey}");
            session.ReportQuarantined(sample);
        };
        return new LoaderViews(loader, startStep);
    }

    /// <inheritdoc/>
    public void Dispose() => State.Dispose();

    /// <summary>The time for all training steps: what is left, and what the steps made so far took.</summary>
    private TimeSpan? Budget
    {
        get
        {
            if (options.TrainFor - options.Clock.Elapsed is not { } left)
            {
                return recipe.Train.Budget;
            }
            left = (left > LeastBudget ? left : LeastBudget) + State.Trained;    // a budget is for all steps, and these are made
            return recipe.Train.Budget < left ? recipe.Train.Budget : left;
        }
    }
}

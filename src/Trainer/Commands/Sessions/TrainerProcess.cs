using System.Globalization;
using System.Net;
using DarkMatter.Data;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Training;
using Grpc.Net.Client;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>Who a trainer process is and where it finds things.</summary>
public sealed record TrainerProcessOptions
{
    /// <summary>The silo's address.</summary>
    public required Uri Silo { get; init; }

    /// <summary>The run.</summary>
    public required string Run { get; init; }

    /// <summary>This trainer's name, unique in the run.</summary>
    public required string Name { get; init; }

    /// <summary>The run's folder, a full path.</summary>
    public required string RunFolder { get; init; }

    /// <summary>Where peers reach this trainer. Default 127.0.0.1.</summary>
    public string Host { get; init; } = "127.0.0.1";

    /// <summary>The port peers reach it at; 0 for any free one.</summary>
    public int Port { get; init; }

    /// <summary>Threads to compute with; 0 for one per core.</summary>
    public int Threads { get; init; }

    /// <summary>The dataset's folder on this machine; null for where the recipe says.</summary>
    public string? Dataset { get; init; }

    /// <summary>When training should be over (UTC), besides the recipe's budget; null for no limit.</summary>
    public DateTime? TrainUntil { get; init; }

    /// <summary>A file that gets the samples' keys of each step; null for none.</summary>
    public string? RecordKeys { get; init; }

    /// <summary>Times of the session.</summary>
    public SessionOptions Session { get; init; } = new();
}

/// <summary>The life of a trainer process: join, assignment, peers, training, last word.</summary>
/// <param name="options">Who it is.</param>
public sealed class TrainerProcess(TrainerProcessOptions options)
{
    private static readonly TimeSpan LeastBudget = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan VerdictPatience = TimeSpan.FromSeconds(4);

    /// <summary>Runs to the end.</summary>
    /// <param name="stop">Cancelled when this process should end: it asks for a stop at the next step.</param>
    /// <returns>One of <see cref="ExitCode"/>.</returns>
    public async Task<int> RunAsync(CancellationToken stop)
    {
        await using var peers = await StartPeerServerAsync(stop);
        using var channel = GrpcChannel.ForAddress(options.Silo);
        using var logs = new RunLogs(options);
        var join = new Join
        {
            Run = options.Run,
            Name = options.Name,
            Incarnation = Guid.NewGuid().ToString("N"),
            Address = peers.Address,
            ProcessId = Environment.ProcessId,
        };
        await using var session = new TrainerSession(new Coordinator.CoordinatorClient(channel), join, options.Session, Note, logs.Write);
        using var stopping = stop.Register(session.RequestStop);
        var rank = -1;
        try
        {
            var assignment = await session.WaitForAssignmentAsync(stop);
            rank = assignment.Rank;
            Note(string.Create(CultureInfo.InvariantCulture, $"rank {assignment.Rank} of {assignment.World}, lanes {string.Join(' ', assignment.Lanes)}, from step {assignment.StartStep}"));
            var result = await TrainAsync(assignment, peers, session, logs);
            await session.LeaveAsync(completed: !result.Stopped, failed: false, result.Stopped ? "stopped on request" : "done");
            Note(string.Create(CultureInfo.InvariantCulture, $"{(result.Stopped ? "stopped" : "done")} at step {result.Step} of {result.TotalSteps}"));
            return result.Stopped ? ExitCode.Stopped : ExitCode.Done;
        }
        catch (CollectiveAbortedException e)
        {
            // A peer or the silo is gone; the silo knows more than one broken stream tells.
            Note(e.Message);
            if (session.End.IsCompleted)
            {
                throw await session.End;
            }
            var verdict = await session.ReportPeerFailedAsync(e.FailedRank is { } failed && failed != rank ? failed : -1, e.Message, VerdictPatience);
            throw verdict ?? new SessionEndedException(ExitCode.LostTrainer, $"run '{options.Run}' ended at step {session.Step}: {e.Message}");
        }
        catch (Exception e) when (session.End.IsCompleted && e is OperationCanceledException)
        {
            throw await session.End;
        }
        catch (Exception e) when (e is not (SessionEndedException or OperationCanceledException))
        {
            await session.LeaveAsync(completed: false, failed: true, e.Message);
            throw;
        }
    }

    private async Task<TrainResult> TrainAsync(Assignment assignment, PeerServer peers, TrainerSession session, RunLogs logs)
    {
        var recipe = ResolvedRecipe.Parse(assignment.RecipeYaml, $"the recipe of run '{options.Run}'", options.RunFolder).Recipe;
        var dataset = options.Dataset ?? recipe.Data.Dataset;
        var catalog = Catalog.Load(dataset);
        if (assignment.DatasetDigest is { Length: > 0 } wanted && wanted != catalog.Digest)
        {
            throw new CommandException(
                ExitCode.BadRequest,
                $"the dataset {dataset} is not the one that run '{options.Run}' trains on: its catalog has digest {catalog.Digest}, the run's has {wanted}. "
                + "Give --dataset the same dataset, or start another run for this one");
        }
        var train = ToTrainOptions(assignment, recipe, catalog);
        logs.Open(assignment.Rank, assignment.StartStep);
        await using var ranks = await ConnectAsync(assignment, peers, session);
        var finished = new TaskCompletionSource<TrainResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        // A thread of its own: the loop computes and blocks, which the pool's threads must not.
        var thread = new Thread(() =>
        {
            try
            {
                finished.SetResult(TrainingRun.Execute(train, start => OpenViews(recipe, dataset, assignment, session, start), ranks, session, session.Ended));
            }
            catch (Exception e)
            {
                finished.SetException(e);
            }
        })
        { Name = "training" };
        thread.Start();
        return await finished.Task;
    }

    private async Task<PeerServer> StartPeerServerAsync(CancellationToken cancellationToken)
    {
        // A name or an address of this machine is told to the peers; listening on it needs no more than to know if others may connect.
        var local = options.Host is "localhost" || (IPAddress.TryParse(options.Host, out var address) && IPAddress.IsLoopback(address));
        try
        {
            return await PeerServer.StartAsync(local ? IPAddress.Loopback : IPAddress.Any, options.Port, options.Host, cancellationToken);
        }
        catch (IOException e)
        {
            throw new CommandException(ExitCode.BadRequest, $"{options.Name}: port {options.Port} for other trainers cannot be used: {e.Message}. Choose another with --port (0: any free one)", e);
        }
    }

    private static async Task<ICollective> ConnectAsync(Assignment assignment, PeerServer peers, TrainerSession session)
    {
        if (assignment.World == 1)
        {
            return new SingleRank(assignment.Generation);
        }
        var ranks = await GrpcCollective.ConnectAsync(
            peers,
            new CollectiveOptions { Generation = assignment.Generation, Rank = assignment.Rank, Peers = [.. assignment.Peers.Select(peer => peer.Address)] },
            session.Ended);
        // A training thread that waits for a peer in vain must end with the session.
        session.Ended.UnsafeRegister(_ => ranks.Abort("the session with the silo ended"), null);
        return ranks;
    }

    private TrainOptions ToTrainOptions(Assignment assignment, Recipe recipe, Catalog catalog)
    {
        var planned = assignment.TotalSteps > 0;
        return new TrainOptions
        {
            Run = options.Run,
            Seed = recipe.Seed,
            GlobalBatch = recipe.Train.Batch,
            LaneCount = assignment.LaneCount > 0 ? assignment.LaneCount : recipe.Data.Lanes,
            FirstLane = assignment.Lanes[0],
            Lanes = assignment.Lanes.Count,
            ImageSize = recipe.Views[0].View.Size,
            Mean = [.. recipe.Data.Mean.Select(value => (float)value)],
            Std = [.. recipe.Data.Std.Select(value => (float)value)],
            TotalSteps = planned ? assignment.TotalSteps : recipe.StepsFor(catalog.SampleCount),
            Budget = planned ? null : BudgetFrom(DateTime.UtcNow, recipe.Train.Budget),
            Precision = recipe.Train.Precision,
            SyncBatchNorm = recipe.Train.SyncBatchNorm,
            Model = recipe.Model,
            Method = recipe.SimClr,
            Optimizer = recipe.Optimizer,
            RunDirectory = options.RunFolder,
            CheckpointEvery = recipe.Train.CheckpointEvery,
            CheckpointsKept = recipe.Checkpoints.KeepLast,
            ResumeFrom = assignment.CheckpointPath.Length > 0 ? assignment.CheckpointPath : null,
            Recipe = assignment.RecipeYaml,
            HashEvery = recipe.Train.HashEvery,
            BucketBytes = recipe.Train.BucketBytes,
            Threads = options.Threads,
        };
    }

    private TimeSpan? BudgetFrom(DateTime now, TimeSpan? given)
    {
        if (options.TrainUntil is not { } until)
        {
            return given;
        }
        var left = until - now > LeastBudget ? until - now : LeastBudget;
        return given < left ? given : left;
    }

    private LoaderViews OpenViews(Recipe recipe, string dataset, Assignment assignment, TrainerSession session, long startStep)
    {
        var loader = PretrainLoader.Open(new PretrainLoaderOptions
        {
            DatasetPath = dataset,
            Seed = recipe.Seed,
            LaneCount = recipe.Data.Lanes,
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
            Note($"broken image {sample.Key} ({sample.Reason}) replaced by {sample.ReplacementKey}");
            session.ReportQuarantined(options.Name, sample);
        };
        return new LoaderViews(loader);
    }

    private static void Note(string message) => Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:HH:mm:ss.fff} {message}"));
}

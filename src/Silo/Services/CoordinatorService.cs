using System.Collections.Immutable;
using DarkMatter.Data;
using DarkMatter.Grains;
using DarkMatter.Protocol;
using Grpc.Core;
using Microsoft.Extensions.Hosting;
using Orleans;
using Orleans.Runtime;

namespace DarkMatter.Silo;

/// <summary>The coordinator's calls apart from the session: see coordinator.proto for what each promises.</summary>
internal sealed partial class CoordinatorService(
    IGrainFactory grains, SessionHub hub, SiloOptions options, TimeProvider time, IHostApplicationLifetime lifetime)
    : Coordinator.CoordinatorBase
{
    /// <summary>How often a watcher's run is looked at.</summary>
    private static readonly TimeSpan s_watchPeriod = TimeSpan.FromMilliseconds(200);

    public override Task<RunStatus> CreateRun(CreateRunRequest request, ServerCallContext context) => Answer(() => CreateRun(request));

    public override Task<RunStatus> GetRun(GetRunRequest request, ServerCallContext context) => Answer(() => GetRun(request));

    public override Task<ListRunsResponse> ListRuns(ListRunsRequest request, ServerCallContext context) => Answer(() => ListRuns(request));

    public override Task<RunStatus> StopRun(StopRunRequest request, ServerCallContext context) => Answer(() => StopRun(request));

    public override Task<RunStatus> PauseRun(PauseRunRequest request, ServerCallContext context) => Answer(() => PauseRun(request));

    public override Task<RunStatus> UnpauseRun(UnpauseRunRequest request, ServerCallContext context) => Answer(() => UnpauseRun(request));

    public override Task<Ledger> GetLedger(GetRunRequest request, ServerCallContext context) => Answer(() => GetLedger(request));

    public override Task<AcquireLeasesResponse> AcquireLeases(AcquireLeasesRequest request, ServerCallContext context) => Answer(() => AcquireLeases(request));

    public override Task<QuarantineResponse> ReportQuarantine(QuarantineReport request, ServerCallContext context) => Answer(() => ReportQuarantine(request));

    public override Task<ReportPartResponse> ReportPart(ReportPartRequest request, ServerCallContext context) => Answer(() => ReportPart(request));

    public override Task<RunStatus> PublishCheckpoint(PublishCheckpointRequest request, ServerCallContext context) => Answer(() => PublishCheckpoint(request));

    private async Task<RunStatus> CreateRun(CreateRunRequest request)
    {
        var plan = new RunPlan
        {
            RecipeYaml = request.RecipeYaml,
            World = request.World,
            Lanes = request.Lanes,
            Batch = request.Batch,
            TotalSteps = request.TotalSteps,
            Dataset = request.Dataset,
            DatasetDigest = request.DatasetDigest,
            Samples = request.Samples,
            MinWorld = request.MinWorld == 0 ? 1 : request.MinWorld,
            MaxWorld = request.MaxWorld,
        };
        if (Grains.Run.Problems(request.Run, plan) is { Count: > 0 } problems)
        {
            throw ProtocolMapping.ToException(Refusal.InvalidArgument, string.Join("; ", problems));
        }

        CheckDataset(plan);
        var run = Run(request.Run);
        var given = request.CheckpointPath.Length == 0
            ? null
            : new CheckpointRecord { Step = request.StartStep, Path = request.CheckpointPath };
        if (request.Resume)
        {
            await MakeResumable(request.Run);
        }
        else
        {
            // Listed first: a name without a run is left out of lists, a run without a name would be lost.
            await grains.GetGrain<IRunListGrain>(IRunListGrain.Key).Add(request.Run);
        }

        var answer = request.Resume ? await run.Resume(plan, request.StartStep, given) : await run.Create(plan);
        var status = ProtocolMapping.ToStatusOrThrow(answer);
        await grains.GetGrain<IRosterGrain>(request.Run).Open(answer.Run!, options.Roster);
        hub.Of(request.Run).Hurry();
        return status;
    }

    // A run that lives without a single trainer, as after a machine was switched off, is ended for its resumption.
    private async Task MakeResumable(string name)
    {
        if (await Run(name).Get() is { IsLive: true } run)
        {
            string reason = $"None of its trainers was there when it was resumed; it was {(run.State == Grains.RunState.Training ? "training" : "waiting")} "
                + $"at step {run.Progress.Step}.";
            ProtocolMapping.ToStatusOrThrow(await grains.GetGrain<IRosterGrain>(name).Abandon(reason));
        }
    }

    private async Task<RunStatus> GetRun(GetRunRequest request) =>
        ProtocolMapping.ToStatus(await Existing(request.Run));

    private async Task<ListRunsResponse> ListRuns(ListRunsRequest request)
    {
        var response = new ListRunsResponse();
        foreach (string name in await grains.GetGrain<IRunListGrain>(IRunListGrain.Key).Names())
        {
            if (await Run(name).Get() is { } run)
            {
                response.Runs.Add(ProtocolMapping.ToStatus(run));
            }
        }

        return response;
    }

    public override async Task WatchRun(
        GetRunRequest request, IServerStreamWriter<RunStatus> responseStream, ServerCallContext context)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, lifetime.ApplicationStopped);
        long? seen = null;
        while (true)
        {
            var run = await Answer(() => Existing(request.Run));
            if (run.Version != seen)
            {
                seen = run.Version;
                await responseStream.WriteAsync(ProtocolMapping.ToStatus(run), stop.Token);
            }

            if (!run.IsLive)
            {
                return;
            }

            await Task.Delay(s_watchPeriod, time, stop.Token);
        }
    }

    private async Task<RunStatus> StopRun(StopRunRequest request)
    {
        await Existing(request.Run);
        var answer = await grains.GetGrain<IRosterGrain>(request.Run).Stop(request.Reason);
        hub.Hurry(request.Run);
        return ProtocolMapping.ToStatusOrThrow(answer);
    }

    private async Task<RunStatus> PauseRun(PauseRunRequest request)
    {
        await Existing(request.Run);
        var answer = await grains.GetGrain<IRosterGrain>(request.Run).Pause(request.Reason);
        hub.Hurry(request.Run);
        return ProtocolMapping.ToStatusOrThrow(answer);
    }

    private async Task<RunStatus> UnpauseRun(UnpauseRunRequest request)
    {
        await Existing(request.Run);
        var answer = await grains.GetGrain<IRosterGrain>(request.Run).Unpause();
        hub.Hurry(request.Run);
        return ProtocolMapping.ToStatusOrThrow(answer);
    }

    private async Task<AcquireLeasesResponse> AcquireLeases(AcquireLeasesRequest request)
    {
        var run = await Existing(request.Run);
        if (request.Generation != run.Progress.Generation)
        {
            throw ProtocolMapping.ToException(
                Refusal.StaleGeneration,
                $"{request.Trainer} asked for leases in generation {request.Generation}, but run '{request.Run}' is in {run.Progress.Generation}");
        }

        var response = new AcquireLeasesResponse();
        foreach (var range in request.Leases.GroupBy(l => ShardRange.Of(l.Shard)))
        {
            var answer = await Shards(request.Run, range.Key).Acquire(
                request.Generation,
                request.Trainer,
                [.. range.Select(l => new ShardLease { Shard = l.Shard, Lane = l.Lane, Epoch = l.Epoch })]);
            if (answer.Refusal != Refusal.None)
            {
                throw ProtocolMapping.ToException(answer.Refusal, answer.Message);
            }

            response.Granted.AddRange(answer.Granted.Select(l => new ShardLane { Shard = l.Shard, Lane = l.Lane, Epoch = l.Epoch }));
        }

        return response;
    }

    private async Task<QuarantineResponse> ReportQuarantine(QuarantineReport request)
    {
        await Existing(request.Run);
        int added = 0;
        var ranges = request.Samples.Where(s => s.Shard >= 0).GroupBy(s => ShardRange.Of(s.Shard)).ToArray();
        foreach (var range in ranges)
        {
            ImmutableArray<BrokenSample> samples =
            [
                .. range.Select(s => new BrokenSample
                {
                    Shard = s.Shard,
                    Index = s.Index,
                    Key = s.Key,
                    Reason = s.Reason,
                    Trainer = request.Trainer,
                }),
            ];
            added += await Shards(request.Run, range.Key).Quarantine(samples);
        }

        return new QuarantineResponse { Total = await Run(request.Run).NoteQuarantined(added, [.. ranges.Select(range => range.Key)]) };
    }

    private async Task<ReportPartResponse> ReportPart(ReportPartRequest request)
    {
        await Existing(request.Run);
        var answer = await grains.GetGrain<ICheckpointGrain>(request.Run).ReportPart(new CheckpointPartReport
        {
            Generation = request.Generation,
            Step = request.Step,
            Rank = request.Rank,
            World = request.World,
            Files = [.. request.Parts.Select(part => new CheckpointFileRecord { Name = part.Name, Bytes = part.Bytes, Sha256 = part.Sha256 })],
        });
        if (answer.Refusal != Refusal.None)
        {
            throw ProtocolMapping.ToException(answer.Refusal, answer.Message);
        }

        var response = new ReportPartResponse { Complete = answer.Complete };
        response.Parts.AddRange(answer.Files.Select(file => new CheckpointPart { Name = file.Name, Bytes = file.Bytes, Sha256 = file.Sha256 }));
        return response;
    }

    private async Task<RunStatus> PublishCheckpoint(PublishCheckpointRequest request) =>
        ProtocolMapping.ToStatusOrThrow(await grains.GetGrain<ICheckpointGrain>(request.Run).Publish(new CheckpointRecord
        {
            Step = request.Step,
            Path = request.Path,
            ManifestSha256 = Convert.ToHexStringLower(request.ManifestSha256.Span),
            Generation = request.Generation,
        }));

    private IRunGrain Run(string name) => grains.GetGrain<IRunGrain>(name);

    private IShardRangeGrain Shards(string run, int range) => grains.GetGrain<IShardRangeGrain>(ShardRange.KeyOf(run, range));

    private async Task<RunView> Existing(string name) =>
        string.IsNullOrWhiteSpace(name)
            ? throw ProtocolMapping.ToException(Refusal.InvalidArgument, "the request names no run")
            : await Run(name).Get() ?? throw ProtocolMapping.ToException(Refusal.NotFound, $"there is no run '{name}'");

    // What a grain cannot do, because its state cannot be stored or read or the silo stops, is the caller's to know: with the file's name, without
    // a stack trace.
    private static async Task<T> Answer<T>(Func<Task<T>> work)
    {
        try
        {
            return await work();
        }
        catch (Exception exception) when (exception is OrleansException or TimeoutException)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, exception.Message));
        }
    }

    // Where the silo sees the dataset, it is the one that was promised.
    private static void CheckDataset(RunPlan plan)
    {
        if (!Directory.Exists(plan.Dataset))
        {
            return;
        }

        try
        {
            string digest = Catalog.Load(plan.Dataset).Digest;
            if (digest != plan.DatasetDigest)
            {
                throw ProtocolMapping.ToException(
                    Refusal.FailedPrecondition,
                    $"the dataset {plan.Dataset} has digest {digest}, but the run was to be created with {plan.DatasetDigest}: "
                    + "the folder's contents are not those the trainers see");
            }
        }
        catch (DatasetException exception)
        {
            throw ProtocolMapping.ToException(Refusal.FailedPrecondition, exception.Message);
        }
    }
}

using System.Security.Cryptography;
using System.Text;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Training;
using Google.Protobuf;
using Grpc.Core;

namespace DarkMatter.Trainer.Commands.Sessions;

// What the trainer says: of its place, its steps, its peers and its end.
public sealed partial class TrainerSession : ITrainingSession
{
    /// <summary>The part of the grace after which a draining trainer goes without the silo's word.</summary>
    private const double UnansweredPart = 0.6;

    /// <summary>The part of the grace after which it goes in the middle of a step.</summary>
    private const double LastPart = 0.85;

    private readonly Place place = new();
    private readonly Action<StepReport>? observe;
    private TrainerMessage? draining;
    private StepReport? latest;
    private string health = "";
    private long lastReport;

    /// <inheritdoc/>
    public IBankFeed? Banks { get; init; }

    /// <summary>The generation this trainer is in; 0: none.</summary>
    public long Generation
    {
        get
        {
            lock (place)
            {
                return place.Generation;
            }
        }
    }

    /// <summary>Updates applied in this trainer's memory; −1: it holds no state.</summary>
    public long Step
    {
        get
        {
            lock (place)
            {
                return place.Step;
            }
        }
    }

    /// <inheritdoc/>
    public bool StopRequested => Orders.Pending is Order.Stop;

    /// <inheritdoc/>
    public bool YieldRequested => Orders.Pending is not (null or Order.Stop);

    /// <inheritdoc/>
    public bool CheckpointRequested => Orders.Pending is { Checkpoint: true };

    /// <summary>The trainer takes a place: what it reports from now on belongs to this generation.</summary>
    public void Enter(Assignment assignment)
    {
        lock (place)
        {
            (place.Generation, place.Rank, place.World) = (assignment.Generation, assignment.Rank, assignment.World);
        }
    }

    /// <summary>The trainer has left its generation. What it has not reported yet is sent first, in that generation's name.</summary>
    /// <param name="step">Updates applied in its memory; −1: it holds no state.</param>
    public void Exit(long step)
    {
        FlushReport();
        lock (place)
        {
            place.Leave();
            place.Step = step;
        }
    }

    /// <summary>The generation goes on with preparing itself, though it may take long: the silo waits for it.</summary>
    public void Progressed()
    {
        lock (place)
        {
            place.Progress++;
        }
    }

    /// <summary>This trainer knows the run's recipe: a silo that has another one by then refuses it.</summary>
    /// <param name="recipeYaml">As the silo gave it.</param>
    public void Prepared(string recipeYaml)
    {
        lock (place)
        {
            join.RecipeDigest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(recipeYaml)));
        }
    }

    /// <summary>Can take a place.</summary>
    /// <param name="stateGeneration">The newest generation its state belongs to.</param>
    /// <param name="reason">Why it left the one before.</param>
    public void Ready(long stateGeneration, string reason) => outbox.Add(
        new TrainerMessage { Ready = new Ready { Generation = stateGeneration, LastStep = Step, Reason = reason } });

    /// <summary>A peer is at fault, as far as this rank can tell.</summary>
    /// <param name="rank">The peer's rank; −1 when it is not known.</param>
    /// <param name="reason">What was seen.</param>
    /// <param name="stateDiffers">Its state is not that of the others.</param>
    public void PeerFailed(int rank, string reason, bool stateDiffers = false)
    {
        FlushReport();
        outbox.Add(new TrainerMessage { PeerFailed = new PeerFailed { Generation = Generation, Rank = rank, Reason = reason, StateDiffers = stateDiffers } });
    }

    /// <summary>This trainer was asked to end: it tells the silo, and goes when the others can go on without it, at the latest when the grace is over.</summary>
    public void BeginDrain(string reason, TimeSpan grace)
    {
        var message = new TrainerMessage { Draining = new Draining { Generation = Generation, Reason = reason, GraceSeconds = grace.TotalSeconds } };
        if (Interlocked.CompareExchange(ref draining, message, null) is not null)
        {
            return;
        }
        note($"draining, within {grace.TotalSeconds:0} s: {reason}");
        outbox.Add(message);
        _ = Task.Run(async () =>
        {
            await Task.Delay(grace * UnansweredPart);
            bool alone;
            lock (place)
            {
                alone = place.World <= 1;
            }
            Orders.Post(new Order.Go($"{reason}; the silo did not answer", Last: alone));
            await Task.Delay(grace * (LastPart - UnansweredPart));
            Orders.Post(new Order.End(ExitCode.Drained, $"{reason}; the grace of {grace.TotalSeconds:0} s is nearly over"));
        });
    }

    /// <inheritdoc/>
    public void GenerationBegan(GenerationReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        lock (place)
        {
            place.Step = report.StartStep;
            if (place.Rank != 0)
            {
                return;
            }
            var message = new GenerationBegan
            {
                Generation = report.Generation,
                StartStep = report.StartStep,
                StateHash = Bytes(report.StateHash),
                Source = report.Source,
                HealedBytes = report.HealedBytes,
                HealSeconds = report.HealTime.TotalSeconds,
            };
            message.Lineage.AddRange(ToMessages(report.Lineage));
            message.Healed.AddRange(report.Healed);
            place.Began = new TrainerMessage { GenerationBegan = message };
            outbox.Add(place.Began);
        }
    }

    /// <inheritdoc/>
    public void StepsPlanned(long totalSteps)
    {
        lock (place)
        {
            place.Plan = new TrainerMessage { StepPlan = new Protocol.StepPlan { Generation = place.Generation, TotalSteps = totalSteps } };
            outbox.Add(place.Plan);
        }
    }

    /// <inheritdoc/>
    public void StepApplied(StepReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        lock (place)
        {
            place.Step = report.Step;
        }
        if (report.Health is { } found)
        {
            if (found.Verdict.Split(':')[0] != health.Split(':')[0])
            {
                note($"embeddings at step {report.Step}: {found.Verdict}");
            }
            Volatile.Write(ref health, found.Verdict);
        }
        observe?.Invoke(report);
        if (report.StateHash is not null)
        {
            // Never coalesced away: the silo compares the ranks' hashes of one step.
            Interlocked.Exchange(ref latest, null);
            Send(report);
            return;
        }
        Volatile.Write(ref latest, report);
        if (Environment.TickCount64 - Interlocked.Read(ref lastReport) >= options.ReportEvery.TotalMilliseconds)
        {
            FlushReport();
        }
    }

    /// <inheritdoc/>
    public void Collapsed(CollapseAction action, string reason)
    {
        note($"asking the silo to {action.ToString().ToLowerInvariant()} the run: {reason}");
        _ = Task.Run(async () =>
        {
            try
            {
                await new Retry(new RetryOptions(), TimeProvider.System).RunAsync(AskAsync, e => e is RpcException { StatusCode: StatusCode.Unavailable or StatusCode.DeadlineExceeded }, closing.Token);
            }
            catch (Exception e) when (e is RpcException or OperationCanceledException)
            {
                note($"the silo did not {action.ToString().ToLowerInvariant()} the run, which goes on: {(e as RpcException)?.Status.Detail ?? e.Message}");
            }
        });

        async Task<RunStatus> AskAsync() => action == CollapseAction.Pause
            ? await client.PauseRunAsync(new PauseRunRequest { Run = join.Run, Reason = reason }, deadline: DateTime.UtcNow + options.SilencePatience, cancellationToken: closing.Token)
            : await client.StopRunAsync(new StopRunRequest { Run = join.Run, Reason = reason }, deadline: DateTime.UtcNow + options.SilencePatience, cancellationToken: closing.Token);
    }

    /// <inheritdoc/>
    public ICheckpointCoordinator CheckpointCoordinator(long generation) =>
        new SiloCheckpoints(client, join.Run, generation, new Retry(new RetryOptions(), TimeProvider.System));

    /// <inheritdoc/>
    public async Task PublishCheckpointAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        var request = new PublishCheckpointRequest
        {
            Run = join.Run,
            Generation = Generation,
            Step = checkpoint.Step,
            Path = checkpoint.Path,
            ManifestSha256 = ByteString.CopyFrom(checkpoint.ManifestSha256),
        };
        await client.PublishCheckpointAsync(request, deadline: DateTime.UtcNow + options.SilencePatience, cancellationToken: cancellationToken);
    }

    /// <inheritdoc/>
    public void Note(string message) => note(message);

    /// <summary>Tells the silo of a broken image. Returns at once; a report that does not arrive is noted, for the run goes on without it.</summary>
    /// <param name="sample">The image and why.</param>
    public void ReportQuarantined(Data.QuarantinedSample sample)
    {
        ArgumentNullException.ThrowIfNull(sample);
        var report = new QuarantineReport { Run = join.Run, Trainer = join.Name };
        report.Samples.Add(new Protocol.QuarantinedSample { Shard = sample.Address.Shard, Index = sample.Address.Sample, Key = sample.Key, Reason = sample.Reason });
        _ = Task.Run(async () =>
        {
            try
            {
                await client.ReportQuarantineAsync(report, deadline: DateTime.UtcNow + options.SilencePatience, cancellationToken: closing.Token);
            }
            catch (RpcException e)
            {
                note($"the silo was not told of broken image {sample.Key}: {e.Status.Detail}");
            }
        });
    }

    /// <summary>What a new stream begins with: who this is, and what the silo may have missed or forgotten.</summary>
    private List<TrainerMessage> Introduction()
    {
        lock (place)
        {
            var join = this.join.Clone();
            (join.Generation, join.LastStep) = (place.Generation, place.Step);
            // The silo answers with its newest order; what belongs to a place that is left, and a Ready before that order, would only confuse it.
            outbox.Keep(message => message.KindCase switch
            {
                TrainerMessage.KindOneofCase.PeerFailed => place.Generation != 0 && message.PeerFailed.Generation == place.Generation,
                TrainerMessage.KindOneofCase.StepApplied => place.Generation != 0 && message.StepApplied.Generation == place.Generation,
                _ => false,
            });
            if (Volatile.Read(ref lastWord) is { } word)
            {
                outbox.Add(word);
            }
            if (draining is not null)
            {
                draining.Draining.Generation = place.Generation;
            }
            TrainerMessage?[] all = [new TrainerMessage { Join = join }, draining?.Clone(), place.Began, place.Plan, place.Reported];
            return [.. all.OfType<TrainerMessage>()];
        }
    }

    private Heartbeat Heartbeat()
    {
        lock (place)
        {
            return new Heartbeat { Generation = place.Generation, Step = place.Step, Progress = place.Progress };
        }
    }

    private void FlushReport()
    {
        if (Interlocked.Exchange(ref latest, null) is { } report)
        {
            Send(report);
        }
    }

    private void Send(StepReport report)
    {
        lock (place)
        {
            if (place.Generation == 0)
            {
                return;
            }
            Interlocked.Exchange(ref lastReport, Environment.TickCount64);
            place.Reported = new TrainerMessage { StepApplied = ToMessage(report, place) };
            outbox.Add(place.Reported);
        }
    }

    private StepApplied ToMessage(StepReport report, Place place) => new()
    {
        Generation = place.Generation,
        Step = report.Step,
        Loss = report.Loss,
        ImagesPerSecond = report.ImagesPerSecond,
        ExposedCommunicationSeconds = report.ExposedCommunication.TotalSeconds,
        EmbeddingStd = report.EmbeddingStd,
        Health = place.Rank == 0 ? Volatile.Read(ref health) : "",
        StateHash = report.StateHash is { } hash ? Bytes(hash) : ByteString.Empty,
        SamplesDigest = place.Rank == 0 ? report.SamplesDigest : 0,
        ComputeSeconds = report.Compute.TotalSeconds,
        DataSeconds = report.DataWait.TotalSeconds,
    };

    /// <summary>A state's lineage as it goes over the wire.</summary>
    internal static IEnumerable<Lineage> ToMessages(IEnumerable<StateSegment> lineage) => lineage.Select(segment => new Lineage
    {
        Generation = segment.Generation,
        StartStep = segment.StartStep,
        EndStep = segment.EndStep,
        SamplesDigest = segment.SamplesDigest,
    });

    private static ByteString Bytes(ulong hash) => ByteString.CopyFrom(BitConverter.GetBytes(hash));
}

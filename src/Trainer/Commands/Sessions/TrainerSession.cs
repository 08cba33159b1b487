using System.Threading.Channels;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Training;
using Grpc.Core;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>Why a session ended before its trainer was done.</summary>
/// <param name="exitCode">One of <see cref="ExitCode"/>.</param>
/// <param name="message">For people.</param>
public sealed class SessionEndedException(int exitCode, string message) : Exception(message)
{
    /// <summary>What the trainer's process ends with.</summary>
    public int ExitCode { get; } = exitCode;
}

/// <summary>Times of a session; every wait has one.</summary>
public sealed record SessionOptions
{
    /// <summary>Between heartbeats. Default 500 ms, a quarter of the silo's patience.</summary>
    public TimeSpan HeartbeatEvery { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Between reports of applied steps; steps in between are told by the newest. Default 100 ms.</summary>
    public TimeSpan ReportEvery { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>How long the silo may be silent before it counts as lost. Default 20 s.</summary>
    public TimeSpan SiloPatience { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>How long to wait for the other trainers of the generation. Default 2 minutes.</summary>
    public TimeSpan AssignmentPatience { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>How long a last word may take to be sent. Default 5 s.</summary>
    public TimeSpan LeavePatience { get; init; } = TimeSpan.FromSeconds(5);
}

/// <summary>
/// A trainer's stream to the silo: it joins, gets its assignment, beats its heart from a timer (so a long step never looks dead), reports
/// steps, and learns of stops. The training thread only writes fields and a bounded queue: it never waits for the network.
/// </summary>
public sealed class TrainerSession : ITrainingSession, IAsyncDisposable
{
    private const int QueueBound = 64;

    private readonly Coordinator.CoordinatorClient client;
    private readonly AsyncDuplexStreamingCall<TrainerMessage, SiloMessage> call;
    private readonly SessionOptions options;
    private readonly string run;
    private readonly Action<string> note;
    private readonly Action<StepReport>? observe;
    private readonly Channel<TrainerMessage> outgoing = Channel.CreateBounded<TrainerMessage>(QueueBound);
    private readonly TaskCompletionSource<Assignment> assignment = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<SessionEndedException> end = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource ended = new();
    private readonly CancellationTokenSource closing = new();
    private readonly Task[] loops;
    private StepReport? latest;
    private long generation;
    private long step;
    private long lastHeard = Environment.TickCount64;
    private int stopRequested;

    /// <summary>Opens the stream and joins.</summary>
    /// <param name="client">The silo.</param>
    /// <param name="join">Who this trainer is.</param>
    /// <param name="options">Times.</param>
    /// <param name="note">Gets every note for people.</param>
    /// <param name="observe">Gets every step's report, on the training thread.</param>
    public TrainerSession(Coordinator.CoordinatorClient client, Join join, SessionOptions options, Action<string> note, Action<StepReport>? observe = null)
    {
        this.client = client;
        this.options = options;
        this.note = note;
        this.observe = observe;
        run = join.Run;
        call = client.Session(cancellationToken: closing.Token);
        outgoing.Writer.TryWrite(new TrainerMessage { Join = join });
        loops = [Task.Run(WriteAsync), Task.Run(ReadAsync)];
        // A thread of its own and above the computing ones: a busy pool or a busy machine must not look like a dead trainer.
        new Thread(Beat) { IsBackground = true, Name = "heartbeat", Priority = ThreadPriority.AboveNormal }.Start();
    }

    /// <inheritdoc/>
    public bool StopRequested => Volatile.Read(ref stopRequested) != 0;

    /// <summary>Cancelled when the session has ended: the silo is lost, or it ended the run.</summary>
    public CancellationToken Ended => ended.Token;

    /// <summary>Completes with the reason when the session ends before <see cref="LeaveAsync"/>.</summary>
    public Task<SessionEndedException> End => end.Task;

    /// <summary>The last step this trainer reported.</summary>
    public long Step => Interlocked.Read(ref step);

    /// <summary>This trainer's place in the run, once every trainer has joined.</summary>
    /// <exception cref="SessionEndedException">The silo refused, was lost, or ended the run before.</exception>
    public async Task<Assignment> WaitForAssignmentAsync(CancellationToken cancellationToken)
    {
        var first = await Task.WhenAny(assignment.Task, end.Task, Task.Delay(options.AssignmentPatience, cancellationToken));
        cancellationToken.ThrowIfCancellationRequested();
        if (first == end.Task)
        {
            throw await end.Task;
        }
        if (first != assignment.Task)
        {
            throw new SessionEndedException(ExitCode.LostTrainer,
                $"run '{run}': no assignment within {options.AssignmentPatience.TotalSeconds:0} s; not every trainer of the run has joined. 'darkmatter runs show {run}' lists those that have");
        }
        return await assignment.Task;
    }

    /// <summary>Asks for a stop at the next step boundary, as the silo could.</summary>
    public void RequestStop() => Volatile.Write(ref stopRequested, 1);

    /// <inheritdoc/>
    public void StepsPlanned(long totalSteps) =>
        outgoing.Writer.TryWrite(new TrainerMessage { StepPlan = new Protocol.StepPlan { Generation = generation, TotalSteps = totalSteps } });

    /// <inheritdoc/>
    public void StepApplied(StepReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        Interlocked.Exchange(ref step, report.Step);
        observe?.Invoke(report);
        if (report.StateHash is not null)
        {
            // Never coalesced away: the silo compares the ranks' hashes of one step.
            outgoing.Writer.TryWrite(new TrainerMessage { StepApplied = ToMessage(report) });
            return;
        }
        Volatile.Write(ref latest, report);
    }

    /// <inheritdoc/>
    public async Task PublishCheckpointAsync(CheckpointReport checkpoint, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        await client.PublishCheckpointAsync(
            new PublishCheckpointRequest
            {
                Run = run,
                Generation = generation,
                Step = checkpoint.Step,
                Path = checkpoint.Path,
                ManifestSha256 = Google.Protobuf.ByteString.CopyFrom(checkpoint.ManifestSha256.Span),
            },
            deadline: DateTime.UtcNow + options.SiloPatience,
            cancellationToken: cancellationToken);
    }

    /// <inheritdoc/>
    public void Note(string message) => note(message);

    /// <summary>Tells the silo of a broken image. Returns at once; a report that does not arrive is noted, for the run goes on without it.</summary>
    /// <param name="trainer">This trainer's name.</param>
    /// <param name="sample">The image and why.</param>
    public void ReportQuarantined(string trainer, Data.QuarantinedSample sample)
    {
        ArgumentNullException.ThrowIfNull(sample);
        var report = new QuarantineReport { Run = run, Trainer = trainer };
        report.Samples.Add(new Protocol.QuarantinedSample { Shard = sample.Address.Shard, Index = sample.Address.Sample, Key = sample.Key, Reason = sample.Reason });
        _ = Task.Run(async () =>
        {
            try
            {
                await client.ReportQuarantineAsync(report, deadline: DateTime.UtcNow + options.SiloPatience, cancellationToken: closing.Token);
            }
            catch (RpcException e)
            {
                note($"the silo was not told of broken image {sample.Key}: {e.Status.Detail}");
            }
        });
    }

    /// <summary>Tells the silo that the stream to a peer broke, and waits for its verdict; null when none comes in time.</summary>
    /// <param name="rank">The peer's rank; −1 when it is not known.</param>
    /// <param name="reason">What was seen.</param>
    /// <param name="patience">How long to wait.</param>
    public async Task<SessionEndedException?> ReportPeerFailedAsync(int rank, string reason, TimeSpan patience)
    {
        outgoing.Writer.TryWrite(new TrainerMessage { PeerFailed = new PeerFailed { Generation = generation, Rank = rank, Reason = reason } });
        await Task.WhenAny(end.Task, Task.Delay(patience));
        return end.Task.IsCompleted ? await end.Task : null;
    }

    /// <summary>Sends what is still unsent and the last word, and closes the stream.</summary>
    public async Task LeaveAsync(bool completed, bool failed, string reason)
    {
        FlushReport();
        outgoing.Writer.TryWrite(new TrainerMessage
        {
            Leaving = new Leaving { Generation = generation, Step = Step, Completed = completed, Failed = failed, Reason = reason },
        });
        end.TrySetResult(new SessionEndedException(ExitCode.Done, reason));
        outgoing.Writer.TryComplete();
        await Task.WhenAny(Task.WhenAll(loops[0], loops[1]), Task.Delay(options.LeavePatience));
    }

    /// <summary>Closes the stream without a last word, if none was sent.</summary>
    public async ValueTask DisposeAsync()
    {
        end.TrySetResult(new SessionEndedException(ExitCode.Failed, "the session was closed"));
        outgoing.Writer.TryComplete();
        await closing.CancelAsync();
        await Task.WhenAny(Task.WhenAll(loops), Task.Delay(options.LeavePatience));
        call.Dispose();
    }

    private async Task WriteAsync()
    {
        try
        {
            await foreach (var message in outgoing.Reader.ReadAllAsync(closing.Token))
            {
                await call.RequestStream.WriteAsync(message, closing.Token);
            }
            await call.RequestStream.CompleteAsync();
        }
        catch (Exception e) when (e is RpcException or IOException or InvalidOperationException or OperationCanceledException)
        {
            // The reader sees the same break, with its status.
        }
    }

    private async Task ReadAsync()
    {
        try
        {
            await foreach (var message in call.ResponseStream.ReadAllAsync(closing.Token))
            {
                Interlocked.Exchange(ref lastHeard, Environment.TickCount64);
                Handle(message);
            }
            EndWith(ExitCode.LostSilo, $"run '{run}': the silo closed the session at step {Step}");
        }
        catch (RpcException e) when (e.StatusCode is StatusCode.InvalidArgument or StatusCode.NotFound or StatusCode.AlreadyExists or StatusCode.FailedPrecondition)
        {
            EndWith(ExitCode.BadRequest, $"run '{run}': the silo refused this trainer: {e.Status.Detail}");
        }
        catch (Exception e) when (e is RpcException or IOException or OperationCanceledException)
        {
            EndWith(ExitCode.LostSilo, $"run '{run}': the connection to the silo broke at step {Step}: {(e as RpcException)?.Status.Detail ?? e.Message}");
        }
    }

    private void Handle(SiloMessage message)
    {
        switch (message.KindCase)
        {
            case SiloMessage.KindOneofCase.Assignment:
                Interlocked.Exchange(ref generation, message.Assignment.Generation);
                assignment.TrySetResult(message.Assignment);
                break;
            case SiloMessage.KindOneofCase.Drain:
                note($"asked to drain: {message.Drain.Reason}");
                RequestStop();
                break;
            case SiloMessage.KindOneofCase.Stop when message.Stop.Failed:
                EndWith(ExitCode.LostTrainer, message.Stop.Reason);
                break;
            case SiloMessage.KindOneofCase.Stop:
                note($"asked to stop: {message.Stop.Reason}");
                RequestStop();
                if (!assignment.Task.IsCompleted)
                {
                    EndWith(ExitCode.Stopped, message.Stop.Reason);
                }
                break;
            case SiloMessage.KindOneofCase.HeartbeatAck:
            case SiloMessage.KindOneofCase.None:
            default:
                break;
        }
    }

    private void Beat()
    {
        var lastBeat = 0L;
        while (!end.Task.IsCompleted)
        {
            FlushReport();
            var now = Environment.TickCount64;
            if (now - lastBeat >= options.HeartbeatEvery.TotalMilliseconds)
            {
                lastBeat = now;
                outgoing.Writer.TryWrite(new TrainerMessage { Heartbeat = new Heartbeat { Generation = generation, Step = Step } });
            }
            if (now - Interlocked.Read(ref lastHeard) > options.SiloPatience.TotalMilliseconds)
            {
                EndWith(ExitCode.LostSilo, $"run '{run}': the silo was silent for {options.SiloPatience.TotalSeconds:0} s at step {Step}");
            }
            Thread.Sleep(options.ReportEvery);
        }
    }

    private void FlushReport()
    {
        if (Interlocked.Exchange(ref latest, null) is { } report)
        {
            outgoing.Writer.TryWrite(new TrainerMessage { StepApplied = ToMessage(report) });
        }
    }

    private StepApplied ToMessage(StepReport report)
    {
        var message = new StepApplied
        {
            Generation = generation,
            Step = report.Step,
            Loss = report.Loss,
            ImagesPerSecond = report.ImagesPerSecond,
            ExposedCommunicationSeconds = report.ExposedCommunication.TotalSeconds,
            EmbeddingStd = report.EmbeddingStd,
        };
        if (report.StateHash is { } hash)
        {
            message.StateHash = Google.Protobuf.ByteString.CopyFrom(BitConverter.GetBytes(hash));
        }
        return message;
    }

    private void EndWith(int exitCode, string message)
    {
        if (end.TrySetResult(new SessionEndedException(exitCode, message)))
        {
            ended.Cancel();
        }
    }
}

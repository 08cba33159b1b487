using System.Threading.Channels;
using DarkMatter.Protocol;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Silo.Tests;

/// <summary>
/// A trainer without a network to train: it joins, beats, says Ready whenever it is told to stand by, and says what a test tells it to.
/// </summary>
public sealed class FakeTrainer : IAsyncDisposable
{
    private static readonly TimeSpan s_beat = TimeSpan.FromMilliseconds(100);

    private readonly GrpcChannel _channel;
    private readonly AsyncDuplexStreamingCall<TrainerMessage, SiloMessage> _call;
    private readonly CancellationTokenSource _stopped = new();
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly Channel<SiloMessage> _heard = Channel.CreateUnbounded<SiloMessage>();
    private readonly Task _reading;
    private Task _beating = Task.CompletedTask;
    private long _generation;
    private long _step;

    private FakeTrainer(Uri silo, string name, string incarnation)
    {
        Name = name;
        Incarnation = incarnation;
        _channel = GrpcChannel.ForAddress(silo);
        _call = new Coordinator.CoordinatorClient(_channel).Session(cancellationToken: _stopped.Token);
        _reading = Task.Run(Read);
    }

    public string Name { get; }

    public string Incarnation { get; }

    public static Task<FakeTrainer> Join(Uri silo, string run, string name, bool beats = true, string digest = "") =>
        Join(silo, run, name, Guid.NewGuid().ToString(), 0, -1, beats, digest);

    /// <summary>The same process on another stream, still in its generation; or, when it was evicted, in none.</summary>
    public Task<FakeTrainer> Rejoin(Uri silo, string run = "demo", bool evicted = false) =>
        Join(silo, run, Name, Incarnation, evicted ? 0 : _generation, _step, beats: true, digest: "");

    /// <summary>True once the silo said something to it; false when it was refused.</summary>
    public async Task<bool> Admitted()
    {
        using var deadline = new CancellationTokenSource(SiloProcess.Patience);
        return await _heard.Reader.WaitToReadAsync(deadline.Token);
    }

    /// <summary>The next message of the kind; others in between are left out.</summary>
    public async Task<SiloMessage> Next(SiloMessage.KindOneofCase kind)
    {
        using var deadline = new CancellationTokenSource(SiloProcess.Patience);
        await foreach (var message in _heard.Reader.ReadAllAsync(deadline.Token))
        {
            if (message.KindCase == kind)
            {
                return message;
            }
        }

        throw new InvalidOperationException($"{Name}: the session ended without {kind}.");
    }

    /// <summary>The next assignment; from now on it speaks for that generation.</summary>
    public async Task<Assignment> Assignment()
    {
        var assignment = (await Next(SiloMessage.KindOneofCase.Assignment)).Assignment;
        _generation = assignment.Generation;
        return assignment;
    }

    public Task Began(long step, string source = "fresh", long stateGeneration = 0, ulong stateDigest = 0, params int[] healed)
    {
        var began = new GenerationBegan
        {
            Generation = _generation,
            StartStep = step,
            Source = source,
            StateHash = ByteString.CopyFrom(1, 2),
        };
        if (stateGeneration > 0)
        {
            began.Lineage.Add(new Protocol.Lineage { Generation = stateGeneration, EndStep = step, SamplesDigest = stateDigest });
        }

        began.Healed.AddRange(healed);
        return Send(new TrainerMessage { GenerationBegan = began });
    }

    public Task Applied(long step, byte[]? hash = null, long? generation = null, ulong digest = 0)
    {
        _step = step;
        return Send(new TrainerMessage
        {
            StepApplied = new StepApplied
            {
                Generation = generation ?? _generation,
                Step = step,
                Loss = 100.0 / step,
                ImagesPerSecond = 640,
                EmbeddingStd = 0.08,
                StateHash = ByteString.CopyFrom(hash ?? []),
                SamplesDigest = digest,
                ComputeSeconds = 0.1,
            },
        });
    }

    public Task Leave(bool completed = false, bool failed = false, string reason = "", bool runFailed = false) => Send(new TrainerMessage
    {
        Leaving = new Leaving
        {
            Generation = _generation,
            Step = _step,
            Completed = completed,
            Failed = failed,
            RunFailed = runFailed,
            Reason = reason,
        },
    });

    public Task Accuse(int rank, string reason, bool differs = false) => Send(new TrainerMessage
    {
        PeerFailed = new PeerFailed { Generation = _generation, Rank = rank, Reason = reason, StateDiffers = differs },
    });

    public Task Ready(string reason = "") =>
        Send(new TrainerMessage { Ready = new Ready { Generation = _generation, LastStep = _step, Reason = reason } });

    public Task Drain() => Send(new TrainerMessage { Draining = new Draining { Generation = _generation, Reason = "SIGTERM", GraceSeconds = 25 } });

    public Task Plan(long steps) => Send(new TrainerMessage { StepPlan = new StepPlan { Generation = _generation, TotalSteps = steps } });

    /// <summary>Says nothing more, with its stream open, until it is woken: a stopped process.</summary>
    public async Task<Action> Hang()
    {
        await _writing.WaitAsync();
        return () => _writing.Release();
    }

    /// <summary>Breaks the connection without a word: a killed process.</summary>
    public async Task Die()
    {
        await _stopped.CancelAsync();
        _channel.Dispose();
        await Task.WhenAll(_reading, _beating).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>The status that the session ended with.</summary>
    public async Task<Status> Ended()
    {
        try
        {
            await _reading.WaitAsync(SiloProcess.Patience);
            return Status.DefaultSuccess;
        }
        catch (RpcException exception)
        {
            return exception.Status;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Die();
        _call.Dispose();
        _stopped.Dispose();
        _writing.Dispose();
    }

    private static async Task<FakeTrainer> Join(
        Uri silo, string run, string name, string incarnation, long generation, long lastStep, bool beats, string digest)
    {
        var trainer = new FakeTrainer(silo, name, incarnation) { _generation = generation, _step = Math.Max(0, lastStep) };
        await trainer.Send(new TrainerMessage
        {
            Join = new Join
            {
                Run = run,
                Name = name,
                Incarnation = incarnation,
                Address = "http://127.0.0.1:1",
                ProcessId = 4000 + name[^1] - '0',
                RecipeDigest = digest,
                Generation = generation,
                LastStep = lastStep,
            },
        });
        if (beats)
        {
            trainer._beating = Task.Run(trainer.Beat);
        }

        return trainer;
    }

    private async Task Send(TrainerMessage message)
    {
        await _writing.WaitAsync(_stopped.Token);
        try
        {
            await _call.RequestStream.WriteAsync(message);
        }
        finally
        {
            _writing.Release();
        }
    }

    private async Task Read()
    {
        try
        {
            while (await _call.ResponseStream.MoveNext(_stopped.Token))
            {
                var message = _call.ResponseStream.Current;
                _heard.Writer.TryWrite(message);
                if (message.KindCase == SiloMessage.KindOneofCase.Standby)
                {
                    await Ready();
                }
            }
        }
        finally
        {
            _heard.Writer.TryComplete();
        }
    }

    private async Task Beat()
    {
        while (!_stopped.IsCancellationRequested)
        {
            await Send(new TrainerMessage { Heartbeat = new Heartbeat { Generation = _generation, Step = _step } });
            await Task.Delay(s_beat, _stopped.Token);
        }
    }
}

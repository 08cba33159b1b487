using System.Threading.Channels;
using DarkMatter.Protocol;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Silo.Tests;

/// <summary>A trainer without a network to train: it joins, beats, and says what a test tells it to.</summary>
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

    private FakeTrainer(Uri silo, string name)
    {
        Name = name;
        _channel = GrpcChannel.ForAddress(silo);
        _call = new Coordinator.CoordinatorClient(_channel).Session(cancellationToken: _stopped.Token);
        _reading = Task.Run(Read);
    }

    public string Name { get; }

    public static async Task<FakeTrainer> Join(Uri silo, string run, string name, bool beats = true, string digest = "")
    {
        var trainer = new FakeTrainer(silo, name);
        await trainer.Send(new TrainerMessage
        {
            Join = new Join
            {
                Run = run,
                Name = name,
                Incarnation = Guid.NewGuid().ToString(),
                Address = "http://127.0.0.1:1",
                ProcessId = 4000 + name[^1] - '0',
                RecipeDigest = digest,
            },
        });
        if (beats)
        {
            trainer._beating = Task.Run(trainer.Beat);
        }

        return trainer;
    }

    /// <summary>The next message of the kind; acknowledgements in between are left out.</summary>
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

    public async Task<Assignment> Assignment()
    {
        var assignment = (await Next(SiloMessage.KindOneofCase.Assignment)).Assignment;
        _generation = assignment.Generation;
        _step = assignment.StartStep;
        return assignment;
    }

    public Task Applied(long step, byte[]? hash = null, long? generation = null)
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
            },
        });
    }

    public Task Leave(bool completed = false, bool failed = false, string reason = "") => Send(new TrainerMessage
    {
        Leaving = new Leaving { Generation = _generation, Step = _step, Completed = completed, Failed = failed, Reason = reason },
    });

    public Task Accuse(int rank, string reason) =>
        Send(new TrainerMessage { PeerFailed = new PeerFailed { Generation = _generation, Rank = rank, Reason = reason } });

    public Task Plan(long steps) => Send(new TrainerMessage { StepPlan = new StepPlan { Generation = _generation, TotalSteps = steps } });

    /// <summary>Stops beating and says nothing more, with its stream open: a hung process.</summary>
    public async Task Hang()
    {
        await _writing.WaitAsync();
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
                _heard.Writer.TryWrite(_call.ResponseStream.Current);
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

using DarkMatter.Protocol;
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

/// <summary>
/// A trainer's session with the silo, for the life of the process: it joins, turns what the silo says into <see cref="Orders"/>, beats its
/// heart from a thread of its own (so a long step never looks dead), and reports steps. A stream that breaks is opened again; the trainer
/// keeps training meanwhile, and what could not be sent is sent then. The training thread never waits for the network.
/// </summary>
public sealed partial class TrainerSession : IAsyncDisposable
{
    private readonly Coordinator.CoordinatorClient client;
    private readonly SessionOptions options;
    private readonly Join join;
    private readonly Action<string> note;
    private readonly Outbox outbox = new();
    private readonly CancellationTokenSource closing = new();
    private readonly Task talking;
    private long lastHeard = Environment.TickCount64;
    private CancellationTokenSource? stream;
    private long opened;
    private TrainerMessage? lastWord;
    private bool said;

    /// <summary>Opens the first stream and joins.</summary>
    /// <param name="client">The silo.</param>
    /// <param name="join">Who this trainer is.</param>
    /// <param name="options">Times.</param>
    /// <param name="note">Gets every note for people.</param>
    /// <param name="observe">Gets every step's report, on the training thread.</param>
    public TrainerSession(
        Coordinator.CoordinatorClient client, Join join, SessionOptions options, Action<string> note, Action<Training.StepReport>? observe = null)
    {
        this.client = client;
        this.options = options;
        this.join = join;
        this.note = note;
        this.observe = observe;
        talking = Task.Run(TalkAsync);
        // A thread of its own and above the computing ones: a busy pool or a busy machine must not look like a dead trainer.
        new Thread(Beat) { IsBackground = true, Name = "heartbeat", Priority = ThreadPriority.AboveNormal }.Start();
    }

    /// <summary>What the silo wants.</summary>
    public Orders Orders { get; } = new();

    /// <summary>Since the silo's last sign of life.</summary>
    public TimeSpan Silence => TimeSpan.FromMilliseconds(Environment.TickCount64 - Interlocked.Read(ref lastHeard));

    /// <summary>Sends what is still unsent and the last word, and waits until the silo has taken it.</summary>
    /// <param name="message">The last word.</param>
    /// <param name="patience">How long to wait.</param>
    /// <returns>Whether the silo has taken it.</returns>
    public async Task<bool> LeaveAsync(Leaving message, TimeSpan patience)
    {
        FlushReport();
        var word = new TrainerMessage { Leaving = message };
        Volatile.Write(ref lastWord, word);
        outbox.Add(word);
        await Task.WhenAny(talking, Task.Delay(patience));
        return talking.IsCompleted;
    }

    /// <summary>Closes the stream without a last word, if none was sent.</summary>
    public async ValueTask DisposeAsync()
    {
        await closing.CancelAsync();
        await Task.WhenAny(talking, Task.Delay(options.LeavePatience));
    }

    /// <summary>Opens streams until the trainer has left, is refused, or the silo was away for too long.</summary>
    private async Task TalkAsync()
    {
        var wait = options.FirstBackoff;
        var away = false;
        while (!closing.IsCancellationRequested)
        {
            var broke = "it ended the stream";
            var began = Environment.TickCount64;
            try
            {
                await UseStreamAsync();
                if (Volatile.Read(ref said))
                {
                    return;
                }
            }
            catch (RpcException e) when (e.StatusCode is StatusCode.InvalidArgument or StatusCode.NotFound or StatusCode.AlreadyExists or StatusCode.FailedPrecondition)
            {
                Orders.Post(new Order.End(ExitCode.BadRequest, $"run '{join.Run}': the silo refused this trainer: {e.Status.Detail}"));
                return;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Aborted)
            {
                Evict(e.Status.Detail);
                broke = e.Status.Detail;
            }
            catch (Exception e) when (e is RpcException or IOException or InvalidOperationException or OperationCanceledException)
            {
                broke = (e as RpcException)?.Status.Detail ?? e.Message;
            }

            if (closing.IsCancellationRequested)
            {
                return;
            }
            if (Silence > options.SiloPatience)
            {
                Orders.Post(new Order.End(ExitCode.LostSilo, $"run '{join.Run}': the silo was away for {Silence.TotalSeconds:0} s, at step {Step}: {broke}"));
                return;
            }
            if (Interlocked.Read(ref lastHeard) > began)
            {
                (wait, away) = (options.FirstBackoff, false);
            }
            if (!away)
            {
                away = true;
                note($"the stream to the silo ended ({broke}); opening a new one");
            }
            await Task.Delay(wait * (0.5 + Random.Shared.NextDouble()), closing.Token).ContinueWith(_ => { }, TaskScheduler.Default);
            wait = wait * 2 < options.LongestBackoff ? wait * 2 : options.LongestBackoff;
        }
    }

    /// <summary>One stream, from joining to its end.</summary>
    private async Task UseStreamAsync()
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(closing.Token);
        using var call = client.Session(cancellationToken: ended.Token);
        Interlocked.Exchange(ref opened, Environment.TickCount64);
        Volatile.Write(ref stream, ended);
        Volatile.Write(ref said, false);
        var writing = WriteAsync(call.RequestStream, ended.Token);
        try
        {
            await foreach (var message in call.ResponseStream.ReadAllAsync(ended.Token))
            {
                Interlocked.Exchange(ref lastHeard, Environment.TickCount64);
                Handle(message);
            }
        }
        finally
        {
            Volatile.Write(ref stream, null);
            await ended.CancelAsync();
            await writing;
        }
    }

    private async Task WriteAsync(IClientStreamWriter<TrainerMessage> writer, CancellationToken cancellationToken)
    {
        try
        {
            foreach (var message in Introduction())
            {
                await writer.WriteAsync(message, cancellationToken);
            }
            while (true)
            {
                var message = await outbox.PeekAsync(cancellationToken);
                await writer.WriteAsync(message, cancellationToken);
                outbox.Remove(message);
                if (message.KindCase == TrainerMessage.KindOneofCase.Leaving)
                {
                    Volatile.Write(ref said, true);
                    await writer.CompleteAsync();
                    return;
                }
            }
        }
        catch (Exception e) when (e is RpcException or IOException or InvalidOperationException or OperationCanceledException)
        {
            // The reader sees the same break, with its status.
        }
    }

    private void Handle(SiloMessage message)
    {
        switch (message.KindCase)
        {
            case SiloMessage.KindOneofCase.Standby:
                Orders.Post(new Order.Wait(message.Standby));
                break;
            case SiloMessage.KindOneofCase.Assignment when message.Assignment.Generation > Generation:
                Orders.Post(new Order.Train(message.Assignment));
                break;
            case SiloMessage.KindOneofCase.Release:
                Orders.Post(new Order.Go(message.Release.Reason, Last: message.Release.NextGeneration == 0));
                break;
            case SiloMessage.KindOneofCase.Drain:
                BeginDrain(message.Drain.Reason, options.DrainGrace);
                break;
            case SiloMessage.KindOneofCase.Stop when message.Stop.Failed:
                Orders.Post(new Order.End(ExitCode.LostTrainer, message.Stop.Reason));
                break;
            case SiloMessage.KindOneofCase.Stop:
                note($"asked to stop: {message.Stop.Reason}");
                Orders.Post(new Order.Stop(message.Stop.Reason, message.Stop.Over));
                break;
            default:
                // Acknowledgements, and what a newer silo says to newer trainers: that it was heard is all that counts.
                break;
        }
    }

    private void Evict(string reason)
    {
        // What it still had to say was said in the name of a place that it has lost.
        lock (place)
        {
            place.Leave();
        }
        Orders.Post(new Order.Rejoin(reason));
    }

    private void Beat()
    {
        var lastBeat = 0L;
        while (!talking.IsCompleted && !closing.IsCancellationRequested)
        {
            FlushReport();
            var now = Environment.TickCount64;
            if (now - lastBeat >= options.HeartbeatEvery.TotalMilliseconds && outbox.IsEmpty && Volatile.Read(ref lastWord) is null)
            {
                lastBeat = now;
                outbox.Add(new TrainerMessage { Heartbeat = Heartbeat() });
            }
            if (Silence > options.SilencePatience && now - Interlocked.Read(ref opened) > options.SilencePatience.TotalMilliseconds
                && Volatile.Read(ref stream) is { } silent)
            {
                CancelQuietly(silent);
            }
            Thread.Sleep(options.ReportEvery);
        }
    }

    private static void CancelQuietly(CancellationTokenSource source)
    {
        try
        {
            source.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It ended by itself just now.
        }
    }
}

using DarkMatter.Protocol;
using DarkMatter.Trainer.Commands.Sessions;
using Google.Protobuf;

namespace DarkMatter.Simulation;

// The stream to the silo: opened again when it breaks, while training goes on.
internal sealed partial class TrainerNode
{
    private static readonly TimeSpan HeartbeatEvery = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan ReportEvery = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan SilencePatience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan SiloPatience = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan FirstBackoff = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestBackoff = TimeSpan.FromSeconds(1);

    private readonly Queue<TrainerMessage> _unsent = new();
    private Pipe? _silo;
    private TimeSpan _heardAt;
    private TimeSpan _backoff = FirstBackoff;
    private TrainerMessage? _began;
    private TrainerMessage? _reported;
    private TimeSpan _reportedAt;
    private bool _unreported;
    private bool _draining;
    private bool _leaving;

    /// <summary>From the silo.</summary>
    public void Hear(SiloMessage message)
    {
        _heardAt = World.Clock.Now;
        _backoff = FirstBackoff;
        switch (message.KindCase)
        {
            case SiloMessage.KindOneofCase.Standby:
                Obey(new Order.Wait(message.Standby));
                break;
            case SiloMessage.KindOneofCase.Assignment when message.Assignment.Generation > Generation:
                Obey(new Order.Train(message.Assignment));
                break;
            case SiloMessage.KindOneofCase.Release:
                Obey(new Order.Go(message.Release.Reason, Last: message.Release.NextGeneration == 0));
                break;
            case SiloMessage.KindOneofCase.Stop:
                Obey(message.Stop.Failed ? new Order.End(1, message.Stop.Reason) : new Order.Stop(message.Stop.Reason, message.Stop.Over));
                break;
        }
    }

    private void Talk()
    {
        if (_silo is not null)
            return;
        _heardAt = _heardAt == TimeSpan.Zero ? World.Clock.Now : _heardAt;
        if (World.Silo is not { } silo)
        {
            TalkAgain();
            return;
        }

        World.Network.Connect(this, silo, pipe =>
        {
            if (pipe is null)
            {
                TalkAgain();
                return;
            }

            _silo = pipe;
            var opened = World.Clock.Now;
            pipe.OnClosed(this, status => Closed(pipe, status));
            var join = new Join { Run = World.RunName, Name = Name, Incarnation = Incarnation, Address = Address, Generation = Generation, LastStep = Held };
            pipe.Send(this, () => silo.Join(pipe, join));
            Introduce();
            WatchSilence(pipe, opened);
        });
    }

    // What the silo may have missed or forgotten; what belongs to a place that was left would only confuse it.
    private void Introduce()
    {
        var waiting = _unsent.ToArray();
        _unsent.Clear();
        foreach (var message in waiting)
        {
            if (message.KindCase == TrainerMessage.KindOneofCase.Leaving || (message.PeerFailed is { } failed && failed.Generation == Generation && Generation > 0))
                _unsent.Enqueue(message);
        }

        TrainerMessage? draining = _draining ? new TrainerMessage { Draining = new Draining { Generation = Generation, Reason = "drained" } } : null;
        foreach (var message in new[] { draining, _began, _reported }.OfType<TrainerMessage>().Concat(_unsent.ToArray()))
            Send(message.Clone());
        _unsent.Clear();
        EndWhenSaid();
    }

    private void Closed(Pipe pipe, string status)
    {
        if (_silo != pipe)
            return;
        _silo = null;
        switch (status)
        {
            case "Aborted":
                if (_place is not null)
                    Exit("lost its place", abort: true, rejoin: true);
                _orders.Post(new Order.Rejoin(status));
                TakeOrder();
                break;
            case "AlreadyExists" or "FailedPrecondition" or "InvalidArgument" or "NotFound":
                World.Laws.Refused(this, status);
                Kill();
                return;
        }

        if (_leaving)
            Kill();
        else
            TalkAgain();
    }

    private void TalkAgain()
    {
        if (World.Clock.Now - _heardAt > SiloPatience)
        {
            Kill();
            return;
        }

        After(_backoff * (0.5 + World.Random.NextDouble()), Talk);
        _backoff = _backoff * 2 < LongestBackoff ? _backoff * 2 : LongestBackoff;
    }

    private void WatchSilence(Pipe pipe, TimeSpan opened) => After(TimeSpan.FromSeconds(1), () =>
    {
        if (_silo != pipe)
            return;
        if (World.Clock.Now - _heardAt > SilencePatience && World.Clock.Now - opened > SilencePatience)
        {
            pipe.Close(this, "silent for too long");
            Closed(pipe, "silence");
            return;
        }

        WatchSilence(pipe, opened);
    });

    private void Beat()
    {
        Flush();
        Send(new TrainerMessage { Heartbeat = new Heartbeat { Generation = Generation, Step = Held } });
        After(HeartbeatEvery, Beat);
    }

    private void Say(TrainerMessage message)
    {
        if (_silo is null)
            _unsent.Enqueue(message);
        else
            Send(message);
    }

    private void Send(TrainerMessage message)
    {
        if (_silo is { } pipe && World.Silo is { } silo)
            pipe.Send(this, () => silo.Hear(pipe, message));
    }

    private void Ready(string reason) =>
        Say(new TrainerMessage { Ready = new Ready { Generation = Memory.Generation, LastStep = Held, Reason = reason } });

    // Steps in between are told by the newest.
    private void ReportStep()
    {
        _reported = new TrainerMessage
        {
            StepApplied = new StepApplied { Generation = Generation, Step = Memory.Step, Loss = 1, SamplesDigest = _place!.Rank == 0 ? Memory.Digest : 0 },
        };
        _unreported = true;
        if (World.Clock.Now - _reportedAt >= ReportEvery)
            Flush();
    }

    private void Flush()
    {
        if (!_unreported || _reported is null)
            return;
        _unreported = false;
        _reportedAt = World.Clock.Now;
        Say(_reported.Clone());
    }

    private void ReportBegan(GenerationBegan began)
    {
        _began = new TrainerMessage { GenerationBegan = began };
        Say(_began.Clone());
    }

    private void EndWhenSaid()
    {
        if (_leaving && _silo is { } pipe)
        {
            pipe.Close(this, "left");
            Kill();
        }
    }

    private static ByteString Bytes(ulong hash) => ByteString.CopyFrom(BitConverter.GetBytes(hash));
}

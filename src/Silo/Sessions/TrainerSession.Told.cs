using DarkMatter.Grains;
using DarkMatter.Protocol;
using Grpc.Core;

namespace DarkMatter.Silo;

// What the trainer is told.
internal sealed partial class TrainerSession
{
    /// <summary>The first answer: stand by, or an acknowledgement to one that keeps its place.</summary>
    public void Welcome(JoinAnswer answer)
    {
        if (answer.KeepsPlace)
        {
            Tell(new SiloMessage { HeartbeatAck = new HeartbeatAck { Generation = Request.Generation } });
            return;
        }

        lock (_gate)
        {
            _heldIn = Request.Generation;
        }

        Tell(new SiloMessage { Standby = ProtocolMapping.ToStandby(answer.Brief!, "prepare, and wait for a place", atOnce: true) });
    }

    /// <summary>Tells the trainer its place in a generation, once; or, when it had one before and has none now, that it stands by.</summary>
    public void Assign(Seating seating)
    {
        var seat = seating.Seats.FirstOrDefault(s => s.Name == Name && s.Incarnation == Request.Incarnation);
        lock (_gate)
        {
            if (_known.Generation >= seating.Generation)
            {
                return;
            }

            if (seat is null)
            {
                if (_known.Generation > 0 && _heldIn < _known.Generation && !_released)
                {
                    _heldIn = _known.Generation;
                    Tell(new SiloMessage { Standby = ProtocolMapping.ToStandby(seating.Brief, seating.Reason, seating.AtOnce) });
                }

                return;
            }

            _heardAt = _time.Now;
            _hashes.Clear();
            _known = _known with
            {
                Generation = seating.Generation,
                Step = 0,
                DigestStep = 0,
                SamplesDigest = 0,
                ComputeSeconds = 0,
                PlannedSteps = 0,
                Accuses = null,
                Beginning = null,
            };
            Tell(new SiloMessage { Assignment = ProtocolMapping.ToAssignment(seating, seat) });
        }
    }

    /// <summary>The run waits or is paused: asks a trainer that has a place in the generation to leave it, once.</summary>
    public void Hold(RosterView view)
    {
        lock (_gate)
        {
            if (_known.Generation != view.Generation || _heldIn >= view.Generation || _released)
            {
                return;
            }

            _heldIn = view.Generation;
            Tell(new SiloMessage { Standby = ProtocolMapping.ToStandby(view.Brief, view.Reason, view.HoldAtOnce, view.HoldWithCheckpoint) });
        }
    }

    /// <summary>Lets a draining trainer go, once.</summary>
    public void Release(string reason, long nextGeneration)
    {
        lock (_gate)
        {
            if (!_released)
            {
                _released = true;
                Tell(new SiloMessage { Release = new Release { Reason = reason, NextGeneration = nextGeneration } });
            }
        }
    }

    /// <summary>Asks the trainer to stop at its next step boundary, once.</summary>
    public void Stop(string reason)
    {
        lock (_gate)
        {
            if (!_stopSent)
            {
                _stopSent = true;
                Tell(new SiloMessage { Stop = new Stop { Reason = reason } });
            }
        }
    }

    /// <summary>The run is over: the trainer has nothing more to do.</summary>
    public void Over(string reason, bool failed)
    {
        lock (_gate)
        {
            Tell(new SiloMessage { Stop = new Stop { Reason = reason, Failed = failed, Over = true } });
        }
    }

    /// <summary>Ends the session after what was already said; with a status when the trainer is to know why.</summary>
    public void End(RpcException? status = null) => _outgoing.Writer.TryComplete(status);

    private void Tell(SiloMessage message)
    {
        bool ack = message.KindCase == SiloMessage.KindOneofCase.HeartbeatAck;
        if (ack && _outgoing.Reader.Count >= MaxOutgoing / 2)
        {
            return;
        }

        if (!_outgoing.Writer.TryWrite(message) && !ack)
        {
            // It reads nothing: what it does not hear now it must not miss for ever.
            End(new RpcException(new Status(StatusCode.Unavailable, $"{Name} does not read what it is told: come back")));
        }
    }
}

using System.Threading.Channels;
using DarkMatter.Grains;
using DarkMatter.Protocol;
using Grpc.Core;

namespace DarkMatter.Silo;

/// <summary>
/// One trainer's session: what its messages said so far, and what it is still to be told. Messages only change fields here; the run's loop
/// carries them to the grains together, some times a second.
/// </summary>
internal sealed class TrainerSession(Join join, ObservedTime time)
{
    /// <summary>Messages that may wait for a slow trainer; acknowledgements are left out first.</summary>
    private const int MaxOutgoing = 64;

    /// <summary>Hashes that may wait for a report.</summary>
    private const int MaxHashes = 64;

    /// <summary>Longest reason taken from a trainer.</summary>
    private const int MaxReason = 2000;

    private readonly Lock _gate = new();
    private readonly Channel<SiloMessage> _outgoing = Channel.CreateBounded<SiloMessage>(MaxOutgoing);
    private readonly List<StateHash> _hashes = [];
    private MemberReport _known = new() { Name = join.Name, Incarnation = join.Incarnation, Step = join.LastStep };
    private TimeSpan _heardAt = time.Now;
    private long _generation;
    private bool _stopSent;

    public string Name => join.Name;

    public string Incarnation => join.Incarnation;

    /// <summary>What the trainer is to be told, in order; ends when the session is over.</summary>
    public ChannelReader<SiloMessage> Outgoing => _outgoing.Reader;

    public JoinRequest Request => new()
    {
        Name = join.Name,
        Incarnation = join.Incarnation,
        Address = join.Address,
        ProcessId = join.ProcessId,
        RecipeDigest = join.RecipeDigest,
    };

    /// <summary>Takes a message in. True when the grains should hear of it at once.</summary>
    /// <exception cref="RpcException">ABORTED: it belongs to another generation. INVALID_ARGUMENT: it makes no sense here.</exception>
    public bool Receive(TrainerMessage message)
    {
        lock (_gate)
        {
            _heardAt = time.Now;
            switch (message.KindCase)
            {
                case TrainerMessage.KindOneofCase.Heartbeat:
                    Fence(message.Heartbeat.Generation, orBefore: true);
                    _known = _known with { Step = Math.Max(_known.Step, message.Heartbeat.Step) };
                    _outgoing.Writer.TryWrite(new SiloMessage { HeartbeatAck = new HeartbeatAck { Generation = _generation } });
                    return false;

                case TrainerMessage.KindOneofCase.StepApplied:
                    Fence(message.StepApplied.Generation);
                    Note(message.StepApplied);
                    return false;

                case TrainerMessage.KindOneofCase.StepPlan:
                    Fence(message.StepPlan.Generation);
                    _known = _known with { PlannedSteps = message.StepPlan.TotalSteps };
                    return true;

                case TrainerMessage.KindOneofCase.PeerFailed:
                    Fence(message.PeerFailed.Generation);
                    _known = _known with
                    {
                        Accuses = new Accusation { Rank = message.PeerFailed.Rank, Reason = Cut(message.PeerFailed.Reason) },
                    };
                    return true;

                case TrainerMessage.KindOneofCase.Leaving:
                    Fence(message.Leaving.Generation, orBefore: true);
                    Note(message.Leaving);
                    return true;

                default:
                    throw new RpcException(new Status(
                        StatusCode.InvalidArgument, $"{Name} sent {message.KindCase} after it had joined: it joins once for each session"));
            }
        }
    }

    /// <summary>It said something that it may not say; its session ends with that.</summary>
    public void Refused(string reason)
    {
        lock (_gate)
        {
            _known = _known with { Presence = Presence.Failed, Reason = Cut(reason) };
        }
    }

    /// <summary>The stream is over. Without a word before, the trainer is lost.</summary>
    public void Closed()
    {
        lock (_gate)
        {
            if (_known.Presence == Presence.Connected)
            {
                _known = _known with { Presence = Presence.Broken };
            }
        }
    }

    /// <summary>What the grains are to hear now.</summary>
    public MemberReport Report()
    {
        lock (_gate)
        {
            return _known with { SilentFor = time.Now - _heardAt, Hashes = [.. _hashes] };
        }
    }

    /// <summary>The grains have heard this report.</summary>
    public void Reported(MemberReport report)
    {
        lock (_gate)
        {
            _hashes.RemoveAll(report.Hashes.Contains);
        }
    }

    /// <summary>Tells the trainer its place, once.</summary>
    public void Assign(Seating seating)
    {
        var seat = seating.Seats.FirstOrDefault(s => s.Name == Name && s.Incarnation == Incarnation);
        lock (_gate)
        {
            if (seat is null || _generation >= seating.Generation)
            {
                return;
            }

            _generation = seating.Generation;
            _heardAt = time.Now;
            _known = _known with { Step = seating.StartStep };
        }

        _outgoing.Writer.TryWrite(new SiloMessage { Assignment = ProtocolMapping.ToAssignment(seating, seat) });
    }

    /// <summary>Asks the trainer to stop, once.</summary>
    public void Stop(string reason, bool failed)
    {
        lock (_gate)
        {
            if (_stopSent && !failed)
            {
                return;
            }

            _stopSent = true;
        }

        _outgoing.Writer.TryWrite(new SiloMessage { Stop = new Stop { Reason = reason, Failed = failed } });
    }

    /// <summary>Ends the session after what was already said.</summary>
    public void End() => _outgoing.Writer.TryComplete();

    private void Note(StepApplied applied)
    {
        if (applied.Step < _known.Step)
        {
            return;
        }

        _known = _known with
        {
            Step = applied.Step,
            Loss = applied.Loss,
            ImagesPerSecond = applied.ImagesPerSecond,
            EmbeddingStd = applied.EmbeddingStd,
        };
        if (applied.StateHash.Length > 0)
        {
            if (_hashes.Count == MaxHashes)
            {
                _hashes.RemoveAt(0);
            }

            _hashes.Add(new StateHash { Step = applied.Step, Hash = Convert.ToHexStringLower(applied.StateHash.Span) });
        }
    }

    private void Note(Leaving leaving) => _known = _known with
    {
        Step = Math.Max(_known.Step, leaving.Step),
        Reason = Cut(leaving.Reason),
        Presence = leaving.Failed ? Presence.Failed : leaving.Completed ? Presence.Completed : Presence.Left,
    };

    private static string Cut(string text) => text.Length <= MaxReason ? text : text[..MaxReason] + "…";

    // Messages sent before the assignment arrived carry generation 0.
    private void Fence(long generation, bool orBefore = false)
    {
        if (generation != _generation && !(orBefore && generation == 0))
        {
            throw new RpcException(new Status(
                StatusCode.Aborted,
                $"{Name} speaks for generation {generation}, but its generation is {_generation}: what it did there does not count"));
        }
    }
}

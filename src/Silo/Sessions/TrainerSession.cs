using System.Threading.Channels;
using DarkMatter.Grains;
using DarkMatter.Protocol;
using Grpc.Core;

namespace DarkMatter.Silo;

/// <summary>
/// One trainer's session: what its messages said so far, and what it is still to be told. Messages only change fields here; the run's loop
/// carries them to the grains together, some times a second.
/// <para>
/// Fencing: a session has a place in one generation, and speaks for that one or, until it has heard of it, for the one before. It never goes
/// back: a message of a generation older than one it has spoken for, or newer than the one it has, ends the session.
/// </para>
/// </summary>
internal sealed partial class TrainerSession
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
    private readonly ObservedTime _time;
    private MemberReport _known;
    private TimeSpan _heardAt;
    private long _spoken;
    private long _heldIn;
    private bool _released;
    private bool _stopSent;

    public TrainerSession(Join join, ObservedTime time)
    {
        _time = time;
        _heardAt = time.Now;
        Request = new JoinRequest
        {
            Name = join.Name,
            Incarnation = join.Incarnation,
            Address = join.Address,
            ProcessId = join.ProcessId,
            RecipeDigest = join.RecipeDigest,
            Generation = join.Generation,
            LastStep = join.LastStep,
            Session = Guid.NewGuid().ToString("N"),
        };
        _spoken = join.Generation;
        _known = new MemberReport
        {
            Name = join.Name,
            Incarnation = join.Incarnation,
            Session = Request.Session,
            Generation = join.Generation,
            Step = Math.Max(0, join.LastStep),
            Held = join.LastStep,
        };
    }

    public JoinRequest Request { get; }

    /// <summary>Completes when the trainer's call has ended.</summary>
    public TaskCompletionSource Ended { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string Name => Request.Name;

    /// <summary>What the trainer is to be told, in order; ends when the session is over.</summary>
    public ChannelReader<SiloMessage> Outgoing => _outgoing.Reader;

    /// <summary>Takes a message in. True when the grains should hear of it at once.</summary>
    /// <exception cref="RpcException">ABORTED: it belongs to another generation. INVALID_ARGUMENT: it makes no sense here.</exception>
    public bool Receive(TrainerMessage message)
    {
        lock (_gate)
        {
            _heardAt = _time.Now;
            switch (message.KindCase)
            {
                case TrainerMessage.KindOneofCase.Heartbeat:
                    NoLaterThanOurs(message.Heartbeat.Generation);
                    _known = _known with { Held = message.Heartbeat.Step, Progress = message.Heartbeat.Progress };
                    Tell(new SiloMessage { HeartbeatAck = new HeartbeatAck { Generation = _known.Generation } });
                    return false;

                case TrainerMessage.KindOneofCase.StepApplied:
                    if (IsOfNow(message.StepApplied.Generation))
                    {
                        Note(message.StepApplied);
                    }

                    return false;

                case TrainerMessage.KindOneofCase.StepPlan:
                    if (IsOfNow(message.StepPlan.Generation))
                    {
                        _known = _known with { PlannedSteps = message.StepPlan.TotalSteps };
                    }

                    return true;

                case TrainerMessage.KindOneofCase.GenerationBegan:
                    if (IsOfNow(message.GenerationBegan.Generation))
                    {
                        _known = _known with { Beginning = ProtocolMapping.ToBeginning(message.GenerationBegan) };
                    }

                    return true;

                case TrainerMessage.KindOneofCase.PeerFailed:
                    if (IsOfNow(message.PeerFailed.Generation))
                    {
                        Accuse(message.PeerFailed.Rank, message.PeerFailed.Reason, message.PeerFailed.StateDiffers);
                    }

                    return true;

                case TrainerMessage.KindOneofCase.Ready:
                    Note(message.Ready);
                    return true;

                case TrainerMessage.KindOneofCase.Draining:
                    NoLaterThanOurs(message.Draining.Generation);
                    _known = _known with { Draining = true };
                    return true;

                case TrainerMessage.KindOneofCase.Leaving:
                    NoLaterThanOurs(message.Leaving.Generation);
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
            return _known with { SilentFor = _time.Now - _heardAt, Hashes = [.. _hashes] };
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

    private void Note(StepApplied applied)
    {
        if (applied.Step < _known.Step)
        {
            return;
        }

        bool digests = applied.SamplesDigest != 0;
        _known = _known with
        {
            Step = applied.Step,
            Held = applied.Step,
            Loss = applied.Loss,
            ImagesPerSecond = applied.ImagesPerSecond,
            EmbeddingStd = applied.EmbeddingStd,
            Health = applied.Health,
            ComputeSeconds = applied.ComputeSeconds,
            DigestStep = digests ? applied.Step : _known.DigestStep,
            SamplesDigest = digests ? applied.SamplesDigest : _known.SamplesDigest,
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

    // Prepared for a place. From one that trained in its generation it means more: it has left it, whatever else it says.
    private void Note(Ready ready)
    {
        if (_known.Generation > 0 && _spoken == _known.Generation && _heldIn < _known.Generation)
        {
            Accuse(-1, ready.Reason.Length > 0 ? ready.Reason : "it left its generation", stateDiffers: false);
        }

        _known = _known with { Prepared = true, Held = ready.LastStep, Step = _known.Generation > 0 ? _known.Step : Math.Max(0, ready.LastStep) };
    }

    private void Note(Leaving leaving) => _known = _known with
    {
        Step = leaving.Generation == _known.Generation ? Math.Max(_known.Step, leaving.Step) : _known.Step,
        Reason = Cut(leaving.Reason),
        RunFailed = leaving.RunFailed,
        Lineage = ProtocolMapping.ToLineage(leaving.Lineage),
        Presence = leaving.Failed || leaving.RunFailed ? Presence.Failed : leaving.Completed ? Presence.Completed : Presence.Left,
    };

    private void Accuse(int rank, string reason, bool stateDiffers)
    {
        if (_known.Accuses is null)
        {
            _known = _known with { Accuses = new Accusation { Rank = rank, Reason = Cut(reason), StateDiffers = stateDiffers } };
        }
    }

    private static string Cut(string text) => text.Length <= MaxReason ? text : text[..MaxReason] + "…";

    // A message of the generation before counts no more; one that went back, or ahead, ends the session.
    private bool IsOfNow(long generation)
    {
        NoLaterThanOurs(generation);
        if (generation < _spoken)
        {
            throw Stale(generation);
        }

        _spoken = generation;
        return generation == _known.Generation && generation > 0;
    }

    // Said from a timer, or before the assignment was there: an older generation is no offence.
    private void NoLaterThanOurs(long generation)
    {
        if (generation > _known.Generation)
        {
            throw Stale(generation);
        }

        _spoken = Math.Max(_spoken, generation);
    }

    private RpcException Stale(long generation) => new(new Status(
        StatusCode.Aborted,
        $"{Name} speaks for generation {generation}, but its generation is {_known.Generation}: what it did there does not count"));
}

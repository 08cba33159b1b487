using DarkMatter.Protocol;
using DarkMatter.Trainer.Commands.Sessions;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Simulation;

// A generation as one rank lives it: connect, agree on a state, heal, then step after step until somebody yields or something breaks.
internal sealed partial class TrainerNode
{
    // As long as a store may be away, for rank 0 may have to read a checkpoint.
    private static readonly TimeSpan BeginTimeout = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan StepTimeout = TimeSpan.FromSeconds(5);
    // As long as others may try to reach a store or a silo that is away: their signs of life keep the call open.
    private static readonly TimeSpan SaveTimeout = TimeSpan.FromMinutes(2);
    private const int EarlyBound = 4096;

    private readonly List<(long Generation, Action Arrive)> _early = [];
    private readonly List<Pipe> _lingering = [];
    private Place? _place;

    public long Generation => _place?.Generation ?? 0;

    /// <summary>From a peer. What belongs to another generation is never taken in: of a later one it waits, of an earlier one it is dropped.</summary>
    public void FromPeer(long generation, Action<Place> arrive)
    {
        if (_place is { } place && (place.Generation == generation || !World.Plan.Fencing))
            arrive(place);
        else if (generation > Generation && _early.Count < EarlyBound)
            _early.Add((generation, () => FromPeer(generation, arrive)));
    }

    private void Enter(Assignment assignment)
    {
        var place = _place = new Place(assignment) { Brought = Memory };
        ForgetLingering();
        foreach (var peer in assignment.Peers.Where(peer => peer.Rank != place.Rank))
        {
            if (World.FindTrainer(peer.Address) is not { } node)
            {
                After(TimeSpan.Zero, () => Lost(place, peer.Rank, "it cannot be connected to"));
                continue;
            }

            World.Network.Connect(this, node, pipe =>
            {
                if (_place != place)
                {
                    pipe?.Close(this, "over");
                }
                else if (pipe is null)
                {
                    Lost(place, peer.Rank, "it cannot be connected to");
                }
                else
                {
                    place.Links[peer.Rank] = (pipe, node);
                    pipe.OnClosed(this, status => Lost(place, peer.Rank, status));
                    pipe.OnClosed(node, status => node.Lost(node._place, place.Generation, place.Rank, status));
                    Tell(place, peer.Rank, (n, p) => n.Introduced(p, place.Rank, place.Brought));
                    while (place.Waiting.TryGetValue(peer.Rank, out var waiting) && waiting.TryDequeue(out var say))
                        say();
                }
            });
        }

        place.Known[place.Rank] = place.Brought;
        var early = _early.ToArray();
        _early.Clear();
        foreach (var (generation, arrive) in early.Where(e => e.Generation >= place.Generation || !World.Plan.Fencing))
            arrive();
        if (_place == place)
            Agree(place);
        Watch(place, BeginTimeout, () => place.Began, () => Array.FindIndex(place.Known, known => known is null));
    }

    private void Introduced(Place place, int rank, Memory memory)
    {
        if (rank < place.World)
            place.Known[rank] = memory;
        Agree(place);
    }

    private void Agree(Place place)
    {
        if (place.Plan is not null || place.Known.Any(known => known is null))
            return;
        var a = place.Assignment;
        var ranks = place.Known.Select(m => new RankState(m!.Value.Generation, m.Value.Step, m.Value.Hash, m.Value.Holds)).ToArray();
        place.Plan = HealPlan.Decide(ranks, a.CheckpointPath.Length > 0 ? new SavedState(a.CheckpointGeneration, a.CheckpointStep) : null);
        switch (place.Plan.Source)
        {
            case HealSource.Memory when place.Plan.Donors.Contains(place.Rank):
                Healed(place, Memory);
                break;
            case HealSource.Memory:
                Memory = Memory with { Holds = false };
                foreach (int donor in place.Plan.Donors)
                    Tell(place, donor, (n, p) => n.Donate(p, place.Rank, place.Plan.Donors.Count));
                break;
            default:
                if (place.Rank == 0)
                    After(World.Plan.LoadTime(World.Random), () => Restore(place));
                else if (place.Copies.Count == 0)
                    Memory = Memory with { Holds = false };
                break;
        }

        Begin(place);
    }

    // Rank 0 reads the newest checkpoint, or an older whole one, or starts afresh when there is none; the others copy it.
    private void Restore(Place place)
    {
        if (_place != place)
            return;
        if (World.Blobs.Down)
        {
            After(TimeSpan.FromSeconds(1), () => Restore(place)); // tried again until the store answers
            return;
        }

        var a = place.Assignment;
        var restored = place.Plan!.Source == HealSource.Fresh ? Memory.Fresh
            : World.Blobs.Load(a.CheckpointPath)
                ?? World.Blobs.Whole.Where(path => World.StepOf(path) < a.CheckpointStep).Select(World.Blobs.Load).FirstOrDefault(m => m is not null);
        if (restored is not { } state)
        {
            Lost(place, -1, "no checkpoint can be read");
            return;
        }

        Memory = state;
        for (int rank = 1; rank < place.World; rank++)
            Tell(place, rank, (n, p) => n.Copied(p, state, expected: 1));
        Healed(place, state);
    }

    // A donor keeps still until everybody is healed, so what it sends is one state.
    private void Donate(Place place, int to, int donors)
    {
        var state = Memory;
        After(World.Plan.CopyTime(World.Random), () =>
        {
            if (_place == place)
                Tell(place, to, (n, p) => n.Copied(p, state, donors));
        });
    }

    private void Copied(Place place, Memory state, int expected)
    {
        place.Copies.Add(state);
        if (place.Copies.Count < expected)
            return;
        if (place.Copies.Any(copy => copy.Hash != state.Hash))
        {
            Lost(place, -1, "the donors differ");
            return;
        }

        Memory = state;
        Healed(place, state);
    }

    private void Healed(Place place, Memory state)
    {
        for (int rank = 0; rank < place.World; rank++)
        {
            if (rank != place.Rank)
                Tell(place, rank, (n, p) => n.HasHash(p, place.Rank, state.Hash));
        }

        HasHash(place, place.Rank, state.Hash);
    }

    private void HasHash(Place place, int rank, ulong hash)
    {
        place.Hashes[rank] = hash;
        Begin(place);
    }

    private void Begin(Place place)
    {
        if (_place != place || place.Began || place.Hashes.Count < place.World || place.Plan is null)
            return;
        if (place.Hashes.Values.Distinct().Count() > 1)
        {
            Lost(place, -1, "the ranks' states differ after the heal");
            return;
        }

        place.Began = true;
        var before = Memory;
        Memory = Memory.Begin(place.Generation);
        World.Laws.Began(this, place, before);
        if (place.Rank == 0)
        {
            ReportBegan(new GenerationBegan
            {
                Generation = place.Generation,
                StartStep = before.Step,
                StateHash = Bytes(before.Hash),
                Source = place.Plan.Source.ToString(),
                Lineage = { Wire(before) },
            });
        }

        Step(place);
    }

    private void Step(Place place)
    {
        if (Memory.Step >= World.Plan.TotalSteps || place.Assignment.SaveOnly)
        {
            End(place, Wish.None);
            return;
        }

        long step = Memory.Step;
        After(World.Plan.ComputeTime(World.Random), () =>
        {
            if (_place != place)
                return;
            if (_flip is { } bit)
                (Memory, _flip) = (Memory.Taint(bit), null);
            ulong images = World.Plan.Images(place.Assignment.Lanes, step);
            var wish = _orders.Pending switch
            {
                null => Wish.None,
                Order.Stop => Wish.Stop,
                { Checkpoint: true } => Wish.Yield | Wish.Checkpoint,
                _ => Wish.Yield,
            };
            for (int rank = 0; rank < place.World; rank++)
            {
                if (rank != place.Rank)
                    Tell(place, rank, (n, p) => n.Contributed(p, step, place.Rank, images, wish));
            }

            Contributed(place, step, place.Rank, images, wish);
            Watch(place, StepTimeout, () => Memory.Step > step, () => place.Missing(step));
        });
    }

    private void Contributed(Place place, long step, int rank, ulong images, Wish wish)
    {
        place.Add(step, rank, images, wish);
        if (step != Memory.Step || !place.Began || place.Sum(step) is not var (sum, wishes))
            return;
        Memory = Memory.Apply(place.Generation, sum);
        World.Laws.Applied(this, place, Memory);
        bool ends = wishes != Wish.None || Memory.Step >= World.Plan.TotalSteps;
        bool saves = !ends && Memory.Step % World.Plan.CheckpointEvery == 0;
        if (place.World > 1 && (Memory.Step % World.Plan.HashEvery == 0 || saves || (ends && wishes != Wish.Yield)))
            CompareHashes(place, () => Applied(place, saves, ends, wishes));
        else
            Applied(place, saves, ends, wishes);
    }

    private void Applied(Place place, bool saves, bool ends, Wish wishes)
    {
        ReportStep();
        if (saves)
            Save(place);
        if (ends)
            End(place, wishes);
        else
            Step(place);
    }

    private void End(Place place, Wish wishes)
    {
        bool done = Memory.Step >= World.Plan.TotalSteps;
        bool stopped = wishes.HasFlag(Wish.Stop) && !done;
        if (!done && !stopped && !wishes.HasFlag(Wish.Checkpoint) && !place.Assignment.SaveOnly)
        {
            Exit("the ranks leave together", abort: false);
            return;
        }

        SaveTogether(place, () =>
        {
            if (done || stopped)
                Leave(completed: done);
            else
                Exit("a checkpoint was taken", abort: false);
        });
    }

    private void CompareHashes(Place place, Action then)
    {
        var mine = Memory;
        World.Laws.Compares(mine);
        Meet(place, $"hash of {Memory.Step}", mine.Hash, StepTimeout, hashes =>
        {
            place.Tainted = HealPlan.Tainted(hashes);
            World.Laws.Compared(this, place, mine, hashes);
            if (place.Tainted.Count == 0)
            {
                then();
                return;
            }

            if (place.Tainted.Contains(place.Rank))
                Memory = Memory with { Holds = false };
            // Nobody leaves, which ends the generation, before all have seen it.
            Meet(place, "a wrong hash is seen", 0, StepTimeout, _ => Diverged(place));
        });
    }

    private void Diverged(Place place)
    {
        Flush();
        foreach (int rank in place.Tainted)
            Say(new TrainerMessage { PeerFailed = new PeerFailed { Generation = place.Generation, Rank = rank, Reason = "its hash differs", StateDiffers = true } });
        Exit("a wrong hash was seen", abort: true);
    }

    private void Meet(Place place, string call, ulong value, TimeSpan patience, Action<IReadOnlyList<ulong>> then)
    {
        bool met = false;
        for (int rank = 0; rank < place.World; rank++)
        {
            if (rank != place.Rank)
                Tell(place, rank, (n, p) => p.Met(call, place.Rank, value));
        }

        place.Met(call, place.Rank, value);
        Watch(place, patience, () => met, () => place.MissingAt(call));
        place.Meet(call, values =>
        {
            met = true;
            if (_place == place)
                then(values);
        });
    }

    private static IEnumerable<Protocol.Lineage> Wire(Memory memory) => memory.Lineage.Select(segment => new Protocol.Lineage
    {
        Generation = segment.Generation,
        StartStep = segment.StartStep,
        EndStep = segment.EndStep,
        SamplesDigest = segment.SamplesDigest,
    });

    // A connection to a peer broke, or the peer is silent: the generation is over for this rank.
    private void Lost(Place? place, long generation, int rank, string reason)
    {
        if (place is not null && place.Generation == generation)
            Lost(place, rank, reason);
    }

    private void Lost(Place place, int rank, string reason)
    {
        if (_place != place)
            return;
        if (place.Tainted.Count > 0)
        {
            Diverged(place);
            return;
        }

        Flush();
        Say(new TrainerMessage { PeerFailed = new PeerFailed { Generation = place.Generation, Rank = rank, Reason = reason } });
        Exit(reason, abort: true);
    }

    private void Watch(Place place, TimeSpan patience, Func<bool> done, Func<int> missing) => After(patience, () =>
    {
        if (_place == place && !done())
            Lost(place, missing(), "nothing came from it");
    });

    /// <summary>Leaves the generation and keeps the state. What was not reported yet is said first, in that generation's name.</summary>
    private void Exit(string reason, bool abort, bool rejoin = false)
    {
        var place = _place!;
        Flush();
        if (World.Tracing)
            World.Note($"{Name} leaves generation {place.Generation} at step {Memory.Step}: {reason}");
        (_place, _began, _reported) = (null, null, null);
        foreach (var (pipe, _) in place.Links.Values)
        {
            if (abort)
                pipe.Close(this, "the peer left the generation");
            else
                _lingering.Add(pipe);
        }

        if (_orders.Pending is not null)
            TakeOrder();
        else if (!rejoin)
            Ready(reason);
    }

    // What was sent at the last boundary arrives before the streams end.
    private void ForgetLingering()
    {
        foreach (var pipe in _lingering)
            pipe.Close(this, "over");
        _lingering.Clear();
    }

    private void Tell(Place place, int rank, Action<TrainerNode, Place> say)
    {
        void Send()
        {
            var (pipe, node) = place.Links[rank];
            pipe.Send(this, () => node.FromPeer(place.Generation, p => say(node, p)), evenIfClosed: !World.Plan.Fencing);
        }

        if (place.Links.ContainsKey(rank))
            Send();
        else
            place.WaitFor(rank, Send);
    }
}

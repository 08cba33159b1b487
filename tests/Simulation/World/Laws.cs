using DarkMatter.Grains;

namespace DarkMatter.Simulation;

/// <summary>An invariant is broken.</summary>
internal sealed class LawBrokenException(string message) : Exception(message);

/// <summary>
/// What must hold after every event. It sees what no process can see: every trainer's memory, and which images went into it.
/// </summary>
internal sealed class Laws(World world)
{
    private readonly Dictionary<(long Generation, long Step), ulong> _states = [];
    private readonly Dictionary<long, string> _memberships = [];
    private readonly Dictionary<long, long[]> _applied = [];
    private readonly HashSet<ulong> _wrong = [];

    /// <summary>A trainer made a step: all that make this step in this generation have the same state, made of the right images.</summary>
    public void Applied(TrainerNode trainer, Place place, Memory memory)
    {
        OneState(trainer, place.Generation, memory);
        _applied[place.Generation][place.Rank] = memory.Step;
    }

    /// <summary>A trainer begins a generation: with the state of all others of it, and nothing that one of them had is given up.</summary>
    public void Began(TrainerNode trainer, Place place, Memory memory)
    {
        OneState(trainer, place.Generation, memory);
        if (!_applied.TryGetValue(place.Generation, out var ranks))
        {
            _applied.Add(place.Generation, ranks = new long[place.World]);
            Array.Fill(ranks, memory.Step);
        }

        var best = place.Known.Select(known => known!.Value).Where(known => known.Holds).OrderByDescending(known => (known.Generation, known.Step)).ToList();
        if (best.Count > 0 && best[0].Hash != memory.Hash && (best[0].Generation, best[0].Step).CompareTo((memory.Generation, memory.Step)) > 0)
            Break($"{trainer.Name} begins generation {place.Generation} at step {memory.Step} of generation {memory.Generation}, but one of its ranks had step {best[0].Step} of generation {best[0].Generation}");
        if (world.Tracing)
            world.Note($"{trainer.Name} begins generation {place.Generation} at step {memory.Step} ({place.Plan!.Source}) as rank {place.Rank} of {place.World}");
    }

    /// <summary>A trainer tells its hash.</summary>
    public void Compares(Memory memory)
    {
        if (memory.Tainted)
            _wrong.Add(memory.Hash);
    }

    /// <summary>The ranks compared their hashes: where most are right, whoever is wrong is found out.</summary>
    public void Compared(TrainerNode trainer, Place place, Memory memory, IReadOnlyList<ulong> hashes)
    {
        if (memory.Tainted && !place.Tainted.Contains(place.Rank) && hashes.Count(hash => !_wrong.Contains(hash)) * 2 > place.World)
            Break($"{trainer.Name} computed wrongly before step {memory.Step}, and the comparison of hashes did not show it");
    }

    /// <summary>The silo tells of a generation: it is stored, and its number has never meant another membership.</summary>
    public void Assigned(Seating seating)
    {
        string seats = string.Join(' ', seating.Seats.Select(s => $"{s.Name}/{s.Incarnation}"));
        if (_memberships.TryGetValue(seating.Generation, out string? told) && told != seats)
            Break($"generation {seating.Generation} is {seats}, but was {told} before");
        if (told is null)
        {
            _memberships.Add(seating.Generation, seats);
            if (world.Tracing)
                world.Note($"generation {seating.Generation}: {seats}. {seating.Reason}");
        }

        if (world.Disk.Record.Generation < seating.Generation)
            Break($"trainers are told of generation {seating.Generation}, but the disk has only {world.Disk.Record.Generation}");
    }

    /// <summary>A checkpoint became the newest: it was whole, and the ledger has it.</summary>
    public void Published(CheckpointRecord checkpoint)
    {
        if (!world.Blobs.IsWhole(checkpoint.Path) && !world.Blobs.IsDamaged(checkpoint.Path))
            Break($"checkpoint {checkpoint.Path} is published, but parts of it are missing");
        if (!world.Disk.Record.Checkpoints.Contains(checkpoint))
            Break($"checkpoint {checkpoint.Path} is published, but the disk does not know it");
        if (world.Blobs.TaintedParts(checkpoint.Path) is var tainted and > 0 && tainted < world.Blobs.Parts(checkpoint.Path))
            Break($"checkpoint {checkpoint.Path} is published with {tainted} parts of a state that was computed wrongly");
        if (world.Tracing)
            world.Note($"checkpoint {checkpoint.Path} is published");
    }

    /// <summary>The run's record changed on the disk: numbers grow, nothing is claimed that was not done.</summary>
    public void Stored(RunRecord before, RunRecord after)
    {
        if (after.Generation < before.Generation)
            Break($"the disk went back from generation {before.Generation} to {after.Generation}");
        var lineage = Lineage.Of(RunLedger.Of(World.RunName, after, []));
        if (!lineage.Problems.IsEmpty)
            Break($"the ledger contradicts itself: {string.Join("; ", lineage.Problems)}");
        foreach (var generation in after.Generations.TakeLast(2).Where(g => g.Began))
        {
            long done = _applied.TryGetValue(generation.Number, out var ranks) ? ranks.Max() : -1;
            if (generation.CommittedStep > done)
                Break($"the ledger says that generation {generation.Number} committed step {generation.CommittedStep}, but no rank of it has made step {done + 1}");
        }

        if (after.State == RunState.Failed)
            Break($"the run failed, though it could go on: {after.Reason}");
        if (world.Tracing && after.State != before.State)
            world.Note($"the run is {after.State}: {after.Reason}");
    }

    /// <summary>The silo turned a trainer away for good.</summary>
    public void Refused(TrainerNode trainer, string status)
    {
        if (world.Tracing)
            world.Note($"{trainer.Name} is refused: {status}");
        if (status is "InvalidArgument" or "NotFound")
            Break($"{trainer.Name} is refused as {status}");
    }

    /// <summary>The run is over: all of it was done, and the ledger proves it.</summary>
    public void Completed(bool nothingLost)
    {
        if (nothingLost && world.Disk.Record.RolledBack > 1)
            Break($"{world.Disk.Record.RolledBack} steps were made again, though trainers that had made them were there until they were drained");
        var report = Audit.Check(world.Ledger(), Scenario.Order);
        if (report.Verdict != AuditVerdict.Proven)
            Break($"the audit says {report.Verdict}: {string.Join("; ", report.Problems)} {string.Join("; ", report.Unproven)}");
        if (report.CommittedSteps != world.Plan.TotalSteps)
            Break($"the run is completed with {report.CommittedSteps} of {world.Plan.TotalSteps} steps");
    }

    /// <summary>The run was stopped: what the ledger says of it holds, and without trouble nothing that was committed is lost.</summary>
    public void Stopped(bool inPeace)
    {
        var record = world.Disk.Record;
        var report = Audit.Check(world.Ledger(), Scenario.Order);
        if (report.Verdict == AuditVerdict.Broken)
            Break($"the audit says {report.Verdict}: {string.Join("; ", report.Problems)}");
        long saved = record.Checkpoints.IsEmpty ? 0 : record.Checkpoints[0].Step;
        if (inPeace && saved < record.Progress.Step)
            Break($"the run was stopped at step {record.Progress.Step}, but its newest checkpoint has step {saved}: {record.Reason}");
    }

    /// <summary>Says what is broken.</summary>
    public void Break(string what) => throw new LawBrokenException($"after {world.Clock.Now.TotalSeconds:0.000} s: {what}");

    private void OneState(TrainerNode trainer, long generation, Memory memory)
    {
        if (memory.Used != world.Plan.Used(memory.Step))
            Break($"{trainer.Name} holds step {memory.Step} of generation {generation}, made of other images than the order has");
        if (memory.Tainted)
            return;
        if (!_states.TryAdd((generation, memory.Step), memory.Hash) && _states[(generation, memory.Step)] != memory.Hash)
            Break($"{trainer.Name} holds another state of step {memory.Step} in generation {generation} than the others");
    }
}

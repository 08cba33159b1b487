using DarkMatter.Grains;
using DarkMatter.Protocol;
using DarkMatter.Silo;
using Grpc.Core;

namespace DarkMatter.Simulation;

/// <summary>
/// A silo's process: the real session objects, whose news the roster hears ten times a second, and a disk that takes its time. While
/// something is being stored nothing else happens to the run, as on a grain's turn.
/// </summary>
internal sealed class SiloNode : Node
{
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan Retry = TimeSpan.FromSeconds(1);

    private readonly ObservedTime _observed;
    private readonly SiloRoster _roster;
    private readonly List<Line> _lines = [];
    private readonly Queue<Action> _turns = new();
    private Seating? _seating;
    private CheckpointRecord? _newest;
    private readonly Dictionary<(long Generation, long Step), HashSet<int>> _parts = [];
    private bool _busy;
    private bool _hurried;

    public SiloNode(World world) : base(world, World.SiloHost)
    {
        _observed = new ObservedTime(world.Clock);
        _roster = new SiloRoster(world.Clock, world.Disk.Record, world.Plan.Roster);
        _newest = world.Disk.Record.Checkpoints.IsEmpty ? null : world.Disk.Record.Checkpoints[0];
        After(Period, Tick);
    }

    /// <summary>A trainer's first message on a new stream.</summary>
    public void Join(Pipe pipe, Join join) => Turn(() =>
    {
        var session = new TrainerSession(join, _observed);
        var answer = _roster.Join(session.Request);
        if (answer.Refusal != Refusal.None)
        {
            pipe.Close(this, ProtocolMapping.ToException(answer.Refusal, answer.Message).StatusCode.ToString());
            return;
        }

        session.Welcome(answer);
        foreach (var earlier in _lines.Where(line => line.Session.Name == session.Name).ToList())
            Remove(earlier, StatusCode.Aborted.ToString());
        var line = new Line(session, pipe);
        _lines.Add(line);
        pipe.OnClosed(this, _ => Closed(line));
        Pump();
        Hurry();
    });

    /// <summary>A later message.</summary>
    public void Hear(Pipe pipe, TrainerMessage message)
    {
        if (_lines.Find(line => line.Pipe == pipe) is not { } line)
        {
            // The join waits for its turn, and so does what comes after it.
            if (_busy && pipe.IsOpen(this))
                _turns.Enqueue(() => Hear(pipe, message));
            return;
        }

        try
        {
            if (!World.Plan.Fencing)
                World.Plan.Unfence(message, line.Session.Report().Generation);
            if (line.Session.Receive(message))
                Hurry();
            Pump();
        }
        catch (RpcException refused)
        {
            line.Session.Refused(refused.Status.Detail);
            Closed(line);
            pipe.Close(this, refused.StatusCode.ToString());
        }
    }

    /// <summary>One rank's part of a checkpoint lies in the store; answers whether it was the last.</summary>
    public void ReportPart(long generation, long step, int rank, int world, Action<bool> answer) => Turn(() =>
    {
        if (!_parts.TryGetValue((generation, step), out var ranks))
            _parts.Add((generation, step), ranks = []);
        ranks.Add(rank);
        answer(ranks.Count == world);
    });

    /// <summary>An operator's command; answers once what follows from it is durable, or cannot be stored.</summary>
    public void Command(Action<SiloRoster> command, Action<bool> answer) => Turn(() =>
    {
        var before = _roster.Snapshot;
        command(_roster);
        Store(before, stored =>
        {
            Hurry();
            answer(stored);
        });
    });

    /// <summary>Makes a checkpoint the newest; answers once that is durable.</summary>
    public void Publish(CheckpointRecord checkpoint, Action<bool> answer) => Turn(() =>
    {
        if (CheckpointPublication.Refuse(_newest, checkpoint) is not null)
        {
            answer(false);
            return;
        }

        var before = _roster.Snapshot;
        var change = _roster.NoteCheckpoint(checkpoint);
        Store(before, stored =>
        {
            if (stored && change.Next is not null)
            {
                _newest = checkpoint.Generation < _newest?.Generation || (checkpoint.Generation == _newest?.Generation && checkpoint.Step < _newest.Step) ? _newest : checkpoint;
                World.Laws.Published(checkpoint);
            }

            answer(stored && change.Next is not null);
        });
    });

    private void Tick()
    {
        Turn(Report);
        After(Period, Tick);
    }

    private void Hurry()
    {
        if (_hurried)
            return;
        _hurried = true;
        After(TimeSpan.FromMilliseconds(1), () => Turn(() =>
        {
            _hurried = false;
            Report();
        }));
    }

    private void Report()
    {
        _observed.Tick();
        var lines = _lines.ToArray();
        var reports = Array.ConvertAll(lines, line => line.Session.Report());
        var before = _roster.Snapshot;
        var view = _roster.Report(new SiloReport { Members = [.. reports], KnownGeneration = _seating?.Generation ?? 0 });
        if (!World.Plan.DurableFirst)
            Apply(view, lines, reports);
        Store(before, stored =>
        {
            if (!stored)
                After(Retry, () => Turn(Report));
            else if (World.Plan.DurableFirst)
                Apply(view, lines, reports);
        });
    }

    private void Apply(RosterView view, Line[] lines, MemberReport[] reports)
    {
        _seating = view.Seating ?? _seating;
        for (int i = 0; i < lines.Length; i++)
        {
            var session = lines[i].Session;
            if (view.Ended)
            {
                session.Over(view.Reason, failed: view.State == Grains.RunState.Failed);
                Pump();
                Remove(lines[i], "OK");
                continue;
            }

            if (view.Released.Contains(session.Request.Session))
                session.Release(view.Reason, view.State == Grains.RunState.Training ? view.Generation : 0);
            if (view.State != Grains.RunState.Training)
                session.Hold(view);
            else if (_seating is not null)
                session.Assign(_seating);
            if (view.StopRequested)
                session.Stop(view.Reason);
            Pump();
            if (reports[i].Presence != Presence.Connected)
                Remove(lines[i], "OK");
            else if (view.Strangers.Contains(reports[i].Session))
                Remove(lines[i], StatusCode.Aborted.ToString());
        }
    }

    // Sends what the sessions have to say.
    private void Pump()
    {
        foreach (var line in _lines.ToArray())
        {
            while (line.Session.Outgoing.TryRead(out var message))
            {
                if (message.KindCase == SiloMessage.KindOneofCase.Assignment)
                    World.Laws.Assigned(_seating!);
                line.Pipe.Send(this, () => ((TrainerNode)line.Pipe.A).Hear(message));
            }
        }
    }

    private void Closed(Line line)
    {
        line.Session.Closed();
        Hurry();
    }

    private void Remove(Line line, string status)
    {
        line.Session.End();
        line.Pipe.Close(this, status);
        _lines.Remove(line);
    }

    // What the roster decided becomes durable, or is undone; a silo that is killed meanwhile has stored some of it, in order.
    private void Store(object before, Action<bool> then)
    {
        var writes = _roster.Writes.ToArray();
        _roster.Writes.Clear();
        if (writes.Length == 0)
        {
            then(true);
            return;
        }

        _busy = true;
        StoreNext(0);

        void StoreNext(int i) => World.Clock.After(World.Disk.Delay(), () =>
        {
            bool stored = Alive && World.Disk.Write(writes[i]);
            Do(() =>
            {
                if (stored && i + 1 < writes.Length)
                {
                    StoreNext(i + 1);
                    return;
                }

                _busy = false;
                if (!stored)
                    _roster.GoBack(before);
                then(stored);
                while (!_busy && _turns.TryDequeue(out var turn))
                    turn();
            });
        });
    }

    private void Turn(Action turn)
    {
        if (_busy)
            _turns.Enqueue(turn);
        else
            turn();
    }

    private sealed record Line(TrainerSession Session, Pipe Pipe);
}

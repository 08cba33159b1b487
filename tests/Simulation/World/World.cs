using System.Collections.Immutable;
using System.Globalization;
using DarkMatter.Grains;

namespace DarkMatter.Simulation;

/// <summary>One run of one cluster: its processes, machines, network, disk and blob store, all of it decided by a seed.</summary>
internal sealed class World
{
    public const string RunName = "run";
    public const string SiloHost = "silo";
    private const int NotesKept = 400;

    private readonly Dictionary<string, TrainerNode> _trainers = [];
    private readonly Queue<string> _notes = new();
    private int _incarnations;
    private int _names;

    public World(Scenario plan, bool tracing = false)
    {
        Plan = plan;
        Tracing = tracing;
        Random = new Random(plan.Seed);
        Network = new Network(this);
        Blobs = new Blobs(this);
        Laws = new Laws(this);
        var change = Run.Create(RunName, null, plan.Run);
        Disk = new Disk(this, change.Next ?? throw new InvalidOperationException(change.Message));
    }

    public Scenario Plan { get; }

    public Random Random { get; }

    public Clock Clock { get; } = new();

    public Network Network { get; }

    public Blobs Blobs { get; }

    public Disk Disk { get; }

    public Laws Laws { get; }

    public bool Tracing { get; }

    /// <summary>The run was stopped while nothing else was wrong: nothing may be lost.</summary>
    public bool StopInPeace { get; set; }

    /// <summary>The silo's process; null while none runs.</summary>
    public SiloNode? Silo { get; private set; }

    /// <summary>Processes that live, hung ones included.</summary>
    public IReadOnlyList<TrainerNode> Trainers => [.. _trainers.Values.Where(t => t.Alive)];

    public IEnumerable<string> Notes => _notes;

    public static string CheckpointPath(long step) => step.ToString(CultureInfo.InvariantCulture);

    public static long StepOf(string path) => long.Parse(path, CultureInfo.InvariantCulture);

    public void StartSilo()
    {
        if (Tracing)
            Note("the silo starts");
        Silo = new SiloNode(this);
    }

    public void KillSilo()
    {
        if (Tracing)
            Note("the silo is killed");
        Silo?.Kill();
        Silo = null;
    }

    /// <summary>Starts a trainer; under a name that was used before, it is that machine's next process.</summary>
    public TrainerNode StartTrainer(string? name = null)
    {
        var trainer = new TrainerNode(this, name ?? $"trainer-{_names++}", $"i{_incarnations++}");
        _trainers.Add(trainer.Address, trainer);
        if (Tracing)
            Note($"{trainer.Name} starts as {trainer.Incarnation}");
        return trainer;
    }

    public TrainerNode? FindTrainer(string address) => _trainers.GetValueOrDefault(address) is { Alive: true } trainer ? trainer : null;

    public void Note(string text)
    {
        _notes.Enqueue($"{Clock.Now.TotalSeconds,9:0.0000}  {text}");
        if (_notes.Count > NotesKept && !Tracing)
            _notes.Dequeue();
    }

    /// <summary>The ledger as an audit would read it now.</summary>
    public RunLedger Ledger() => RunLedger.Of(RunName, Disk.Record, ImmutableArray<BrokenSample>.Empty);
}

using DarkMatter.Protocol;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Simulation;

/// <summary>What a trainer knows of the generation it is in.</summary>
internal sealed class Place(Assignment assignment)
{
    private readonly Dictionary<long, (ulong Images, bool Yields)?[]> _steps = [];

    public Assignment Assignment { get; } = assignment;

    public long Generation => Assignment.Generation;

    public int Rank => Assignment.Rank;

    public int World => Assignment.World;

    /// <summary>Own streams to the peers.</summary>
    public Dictionary<int, (Pipe Pipe, TrainerNode Node)> Links { get; } = [];

    /// <summary>What is to be said to a peer once its stream stands.</summary>
    public Dictionary<int, Queue<Action>> Waiting { get; } = [];

    public Memory?[] Known { get; } = new Memory?[assignment.World];

    public HealPlan? Plan { get; set; }

    public List<Memory> Copies { get; } = [];

    public Dictionary<int, ulong> Hashes { get; } = [];

    public bool Began { get; set; }

    /// <summary>All steps are made; what happens to peers is no matter any more.</summary>
    public bool Completing { get; set; }

    public void WaitFor(int rank, Action say)
    {
        if (!Waiting.TryGetValue(rank, out var queue))
            Waiting.Add(rank, queue = new Queue<Action>());
        queue.Enqueue(say);
    }

    public void Add(long step, int rank, ulong images, bool yields)
    {
        if (!_steps.TryGetValue(step, out var ranks))
            _steps.Add(step, ranks = new (ulong, bool)?[World]);
        if (rank < World)
            ranks[rank] = (images, yields);
    }

    /// <summary>What all ranks used, and whether one of them leaves; null while one is missing.</summary>
    public (ulong Images, bool Leave)? Sum(long step)
    {
        if (!_steps.TryGetValue(step, out var ranks) || ranks.Any(rank => rank is null))
            return null;
        _steps.Remove(step);
        ulong sum = 0;
        foreach (var rank in ranks)
            sum += rank!.Value.Images;
        return (sum, ranks.Any(rank => rank!.Value.Yields));
    }

    /// <summary>The first rank that has not contributed; −1 for none.</summary>
    public int Missing(long step) => _steps.TryGetValue(step, out var ranks) ? Array.FindIndex(ranks, rank => rank is null) : -1;
}

using DarkMatter.Protocol;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Simulation;

/// <summary>What a trainer knows of the generation it is in.</summary>
internal sealed class Place(Assignment assignment)
{
    private readonly Dictionary<long, (ulong Images, Wish Wish)?[]> _steps = [];
    private readonly Dictionary<string, Meeting> _meetings = [];

    public Assignment Assignment { get; } = assignment;

    public long Generation => Assignment.Generation;

    public int Rank => Assignment.Rank;

    public int World => Assignment.World;

    /// <summary>Own streams to the peers.</summary>
    public Dictionary<int, (Pipe Pipe, TrainerNode Node)> Links { get; } = [];

    /// <summary>What is to be said to a peer once its stream stands.</summary>
    public Dictionary<int, Queue<Action>> Waiting { get; } = [];

    /// <summary>What this rank brought: the others are told of this, whenever their streams stand.</summary>
    public required Memory Brought { get; init; }

    public Memory?[] Known { get; } = new Memory?[assignment.World];

    public HealPlan? Plan { get; set; }

    public List<Memory> Copies { get; } = [];

    public Dictionary<int, ulong> Hashes { get; } = [];

    public bool Began { get; set; }

    /// <summary>The ranks whose hashes are wrong, once it is known.</summary>
    public IReadOnlyList<int> Tainted { get; set; } = [];

    public void WaitFor(int rank, Action say)
    {
        if (!Waiting.TryGetValue(rank, out var queue))
            Waiting.Add(rank, queue = new Queue<Action>());
        queue.Enqueue(say);
    }

    public void Add(long step, int rank, ulong images, Wish wish)
    {
        if (!_steps.TryGetValue(step, out var ranks))
            _steps.Add(step, ranks = new (ulong, Wish)?[World]);
        if (rank < World)
            ranks[rank] = (images, wish);
    }

    /// <summary>What all ranks used, and what any of them wishes; null while one is missing.</summary>
    public (ulong Images, Wish Wish)? Sum(long step)
    {
        if (!_steps.TryGetValue(step, out var ranks) || ranks.Any(rank => rank is null))
            return null;
        _steps.Remove(step);
        ulong sum = 0;
        var wish = Wish.None;
        foreach (var rank in ranks)
            (sum, wish) = (sum + rank!.Value.Images, wish | rank.Value.Wish);
        return (sum, wish);
    }

    /// <summary>The first rank that has not contributed; −1 for none.</summary>
    public int Missing(long step) => _steps.TryGetValue(step, out var ranks) ? Array.FindIndex(ranks, rank => rank is null) : -1;

    /// <summary>A call that all ranks make, each with a number; goes on once all have.</summary>
    public void Meet(string call, Action<IReadOnlyList<ulong>> then)
    {
        MeetingOf(call).Then = then;
        MeetingOf(call).GoOn();
    }

    public void Met(string call, int rank, ulong value)
    {
        if (rank >= World)
            return;
        MeetingOf(call).Values[rank] = value;
        MeetingOf(call).GoOn();
    }

    /// <summary>The first rank that has not come to a call; −1 for none.</summary>
    public int MissingAt(string call) => Array.FindIndex(MeetingOf(call).Values, value => value is null);

    private Meeting MeetingOf(string call)
    {
        if (!_meetings.TryGetValue(call, out var meeting))
            _meetings.Add(call, meeting = new Meeting(World));
        return meeting;
    }

    private sealed class Meeting(int world)
    {
        public ulong?[] Values { get; } = new ulong?[world];

        public Action<IReadOnlyList<ulong>>? Then { get; set; }

        public void GoOn()
        {
            if (Then is not { } then || Values.Any(value => value is null))
                return;
            Then = null;
            then([.. Values.Select(value => value!.Value)]);
        }
    }
}

/// <summary>What a rank wants after a step: one rank's wish counts for all.</summary>
[Flags]
internal enum Wish
{
    None = 0,
    Yield = 1,
    Stop = 2,
    Checkpoint = 4,
}

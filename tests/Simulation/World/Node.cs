namespace DarkMatter.Simulation;

/// <summary>A process: it may hang, and then everything that happens to it waits; it may be killed, and then nothing does any more.</summary>
/// <param name="world">Where it runs.</param>
/// <param name="host">Its machine; links are cut between machines.</param>
internal abstract class Node(World world, string host)
{
    private readonly Queue<Action> _waiting = new();

    public World World { get; } = world;

    public string Host { get; } = host;

    public bool Alive { get; private set; } = true;

    public bool Hung { get; private set; }

    /// <summary>Lets something happen to it, now or when it hangs no longer.</summary>
    public void Do(Action action)
    {
        if (!Alive)
            return;
        if (Hung)
            _waiting.Enqueue(action);
        else
            action();
    }

    /// <summary>A timer of this process.</summary>
    public void After(TimeSpan delay, Action action) => World.Clock.After(delay, () => Do(action));

    /// <summary>SIGSTOP.</summary>
    public void Hang() => Hung = true;

    /// <summary>SIGCONT.</summary>
    public void Resume()
    {
        Hung = false;
        while (Alive && !Hung && _waiting.TryDequeue(out var action))
            action();
    }

    /// <summary>SIGKILL, or the process's own end: its kernel closes its connections.</summary>
    public void Kill()
    {
        if (!Alive)
            return;
        Alive = false;
        _waiting.Clear();
        World.Network.Ended(this);
    }
}

namespace DarkMatter.Simulation;

/// <summary>
/// Connections as TCP gives them: in order, with a delay, and what is sent into a cut link arrives late, when the link is whole again.
/// </summary>
internal sealed class Network(World world)
{
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(1);

    private readonly HashSet<(string, string)> _cuts = [];
    private readonly HashSet<Pipe> _pipes = [];

    public World World => world;

    /// <summary>The time a message takes: mostly a fraction of a millisecond, seldom some tens of them.</summary>
    public TimeSpan Delay() => TimeSpan.FromMicroseconds(world.Random.Next(50) == 0 ? world.Random.Next(1_000, 40_000) : world.Random.Next(50, 1_000));

    public bool IsCut(string a, string b) => _cuts.Contains(Key(a, b));

    public void Cut(string a, string b) => _cuts.Add(Key(a, b));

    public void Mend(string a, string b)
    {
        if (_cuts.Remove(Key(a, b)))
        {
            foreach (var pipe in _pipes.Where(pipe => Key(pipe.A.Host, pipe.B.Host) == Key(a, b)).ToList())
                pipe.GoOn();
        }
    }

    public void MendAll()
    {
        foreach (var (a, b) in _cuts.ToList())
            Mend(a, b);
    }

    /// <summary>Connects; calls back on the connecting node, with null when there is nobody or no way.</summary>
    public void Connect(Node from, Node to, Action<Pipe?> then)
    {
        if (IsCut(from.Host, to.Host))
        {
            from.After(ConnectTimeout, () => then(null));
            return;
        }

        from.After(Delay(), () =>
        {
            if (!to.Alive)
            {
                then(null);
                return;
            }

            var pipe = new Pipe(this, from, to);
            _pipes.Add(pipe);
            then(pipe);
        });
    }

    /// <summary>A process is gone: the others learn it from their connections.</summary>
    public void Ended(Node node)
    {
        foreach (var pipe in _pipes.Where(pipe => pipe.A == node || pipe.B == node).ToList())
            pipe.Close(node, "the connection was reset");
    }

    public void Forget(Pipe pipe) => _pipes.Remove(pipe);

    private static (string, string) Key(string a, string b) => string.CompareOrdinal(a, b) < 0 ? (a, b) : (b, a);
}

/// <summary>One connection between two processes.</summary>
internal sealed class Pipe
{
    private readonly Network _network;
    private readonly Direction[] _directions = [new(), new()];

    public Pipe(Network network, Node a, Node b)
    {
        _network = network;
        A = a;
        B = b;
    }

    public Node A { get; }

    public Node B { get; }

    /// <summary>What a node does when the other side closed the connection, with the other side's words.</summary>
    public void OnClosed(Node node, Action<string> closed) => End(node).Closed = closed;

    public bool IsOpen(Node node) => !End(node).Over;

    /// <summary>Sends something that happens to the other side when it arrives; for broken builds also when the other side has hung up.</summary>
    public void Send(Node from, Action arrive, bool evenIfClosed = false)
    {
        if (!End(from).Over)
            Transmit(From(from), () => Arrive(from, arrive, evenIfClosed));
    }

    /// <summary>Closes one's own side; the other learns it after everything that was sent before.</summary>
    public void Close(Node from, string status)
    {
        if (End(from).Over)
            return;
        End(from).Over = true;
        Transmit(From(from), () =>
        {
            var other = Other(from);
            _network.Forget(this);
            if (End(other).Over)
                return;
            End(other).Over = true;
            var closed = End(other).Closed;
            other.Do(() => closed?.Invoke(status));
        });
    }

    /// <summary>The link is whole again: what waited goes on its way.</summary>
    public void GoOn()
    {
        foreach (var direction in _directions)
        {
            for (; direction.Stalled > 0; direction.Stalled--)
                Schedule(direction);
        }
    }

    private void Arrive(Node from, Action arrive, bool evenIfClosed)
    {
        var to = Other(from);
        if (to.Alive && (evenIfClosed || !End(to).Over))
            to.Do(arrive);
    }

    private void Transmit(Direction direction, Action action)
    {
        direction.Queue.Enqueue(action);
        Schedule(direction);
    }

    // Each event delivers the head of the queue: whatever stalls, the order stays.
    private void Schedule(Direction direction)
    {
        var clock = _network.World.Clock;
        var arrival = clock.Now + _network.Delay();
        direction.Last = arrival > direction.Last ? arrival : direction.Last;
        clock.After(direction.Last - clock.Now, () =>
        {
            if (_network.IsCut(A.Host, B.Host))
                direction.Stalled++;
            else
                direction.Queue.Dequeue()();
        });
    }

    // A direction keeps the state of the end that sends in it.
    private Direction End(Node node) => From(node);

    private Direction From(Node node) => _directions[node == A ? 0 : 1];

    private Node Other(Node node) => node == A ? B : A;

    private sealed class Direction
    {
        public Queue<Action> Queue { get; } = new();

        public int Stalled { get; set; }

        public TimeSpan Last { get; set; }

        public bool Over { get; set; }

        public Action<string>? Closed { get; set; }
    }
}

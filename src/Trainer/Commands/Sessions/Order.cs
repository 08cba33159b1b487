using DarkMatter.Protocol;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>What a trainer is to do next.</summary>
/// <param name="Reason">Why, for people.</param>
public abstract record Order(string Reason)
{
    /// <summary>Whether the trainer leaves the generation it is in now, or at its next step boundary.</summary>
    public virtual bool AtOnce => false;

    /// <summary>Whether a checkpoint is wanted before that.</summary>
    public virtual bool Checkpoint => false;

    /// <summary>Prepare, say Ready and wait; keep the state.</summary>
    /// <param name="Message">From the silo.</param>
    public sealed record Wait(Standby Message) : Order(Message.Reason)
    {
        /// <inheritdoc/>
        public override bool AtOnce => Message.AtOnce;

        /// <inheritdoc/>
        public override bool Checkpoint => Message.Checkpoint;
    }

    /// <summary>Take a place in a generation.</summary>
    /// <param name="Assignment">From the silo.</param>
    public sealed record Train(Assignment Assignment) : Order(Assignment.Reason)
    {
        /// <inheritdoc/>
        public override bool AtOnce => Assignment.AtOnce;
    }

    /// <summary>The others go on without this trainer: end.</summary>
    /// <param name="Reason">Why.</param>
    /// <param name="Last">Nobody goes on: take a checkpoint first.</param>
    public sealed record Go(string Reason, bool Last) : Order(Reason)
    {
        /// <inheritdoc/>
        public override bool Checkpoint => Last;
    }

    /// <summary>The run ends at the next step boundary, with a checkpoint.</summary>
    /// <param name="Reason">Why.</param>
    /// <param name="Over">Outside a generation: whether nothing is to be waited for. Else what this trainer holds may still have to be saved.</param>
    public sealed record Stop(string Reason, bool Over) : Order(Reason);

    /// <summary>This trainer lost its place while it was cut off: it keeps nothing of the generation but its state.</summary>
    /// <param name="Reason">Why.</param>
    public sealed record Rejoin(string Reason) : Order(Reason)
    {
        /// <inheritdoc/>
        public override bool AtOnce => true;
    }

    /// <summary>End now: the run failed, the silo refused or is lost, or the grace is over.</summary>
    /// <param name="ExitCode">What the process ends with.</param>
    /// <param name="Reason">Why.</param>
    public sealed record End(int ExitCode, string Reason) : Order(Reason)
    {
        /// <inheritdoc/>
        public override bool AtOnce => true;
    }
}

/// <summary>
/// The newest order. Only that one counts: who is told of generation 8 has no use for 7. An order to end is never replaced by one that goes on.
/// </summary>
public sealed class Orders
{
    private readonly object gate = new();
    private Order? pending;

    /// <summary>Raised on the poster's thread when the generation that is under way must end now.</summary>
    public event Action<Order>? AtOnce;

    /// <summary>The order that nobody has taken yet.</summary>
    public Order? Pending => Volatile.Read(ref pending);

    /// <summary>Replaces the pending order, unless that one weighs more.</summary>
    public void Post(Order order)
    {
        lock (gate)
        {
            bool counts = (pending, order) is (Order.Train { Assignment: var taken }, Order.Train { Assignment: var given })
                ? given.Generation > taken.Generation
                : Weight(order) >= PendingWeight(pending);
            if (!counts)
            {
                return;
            }
            pending = order;
            Monitor.PulseAll(gate);
        }
        if (order.AtOnce)
        {
            AtOnce?.Invoke(order);
        }
    }

    /// <summary>Waits a moment for an order, and leaves it.</summary>
    /// <returns>Whether there is one.</returns>
    public bool Wait(TimeSpan patience)
    {
        lock (gate)
        {
            return pending is not null || Monitor.Wait(gate, patience);
        }
    }

    /// <summary>Waits for an order and takes it. The session bounds the wait: it posts an end when the silo stays away.</summary>
    public Order Take()
    {
        lock (gate)
        {
            while (pending is null)
            {
                Monitor.Wait(gate);
            }
            var order = pending;
            pending = null;
            return order;
        }
    }

    // To save what only trainers hold comes before other orders, but whatever is newer than it counts.
    private static int PendingWeight(Order? order) => order is Order.Train ? 1 : Weight(order);

    private static int Weight(Order? order) => order switch
    {
        null => 0,
        Order.End => 4,
        Order.Stop or Order.Train { Assignment.SaveOnly: true } => 3,
        Order.Go => 2,
        _ => 1,
    };
}

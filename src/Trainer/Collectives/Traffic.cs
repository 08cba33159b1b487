namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// The calls of one kind, blocking or background, with streams of their own: small blocking sums overtake large ones that are under
/// way in the background. Calls are numbered; frames carry the number.
/// </summary>
internal sealed class Traffic(GrpcCollective owner, int number, CollectiveOptions options)
{
    /// <summary>More calls than this are never in flight: whoever begins more has forgotten to await them.</summary>
    public const int MaxInFlight = 4096;

    private readonly Lock _gate = new();
    private readonly Dictionary<long, Operation> _operations = [];
    private readonly PeerLink?[] _links = new PeerLink?[options.Peers.Count];
    private CollectiveAbortedException? _aborted;
    private Task _sending = Task.CompletedTask;
    private long _nextSequence;

    public GrpcCollective Owner { get; } = owner;

    public int Number { get; } = number;

    public IEnumerable<PeerLink> Links => _links.OfType<PeerLink>();

    /// <summary>The stream to a peer.</summary>
    public PeerLink Link(int peer) =>
        _links[peer] ?? throw new InvalidOperationException($"Rank {Owner.Rank} has no stream to rank {peer}.");

    public bool TryAttach(PeerLink link) => Interlocked.CompareExchange(ref _links[link.Peer], link, null) is null;

    /// <summary>The number of the next call. Calls begin on one thread at a time.</summary>
    public long NextSequence() => _nextSequence++;

    /// <summary>The call of this number, if this rank has begun it.</summary>
    public Operation? Find(long sequence)
    {
        lock (_gate)
        {
            return _operations.GetValueOrDefault(sequence);
        }
    }

    /// <summary>The call that began first of those under way.</summary>
    public Operation? Oldest()
    {
        lock (_gate)
        {
            return _operations.Values.MinBy(operation => operation.Sequence);
        }
    }

    /// <summary>Sends and takes from now on. Sends of background calls follow each other; a blocking call is alone.</summary>
    public void Begin(Operation operation, bool background, CancellationToken cancellationToken)
    {
        operation.Ended = Remove;
        lock (_gate)
        {
            if (_aborted is { } aborted)
            {
                throw new CollectiveAbortedException(aborted.Message, aborted.FailedRank, aborted.InnerException);
            }

            if (_operations.Count >= MaxInFlight)
            {
                throw new InvalidOperationException($"{MaxInFlight} collective calls are in flight: await the earlier ones.");
            }

            _operations.Add(operation.Sequence, operation);
        }

        operation.Begin();
        foreach (var link in Links)
        {
            link.DeliverKept(operation);
            if (link.PeerLeft)
            {
                AbortOperationsThatNeed(link.Peer);
            }
        }

        if (background)
        {
            _sending = SendAfterAsync(_sending, operation, cancellationToken);
        }
        else
        {
            _ = SendAsync(operation, cancellationToken);
        }
    }

    public void Abort(CollectiveAbortedException reason)
    {
        Operation[] open;
        lock (_gate)
        {
            _aborted ??= reason;
            open = [.. _operations.Values];
        }

        foreach (var operation in open)
        {
            operation.Close(reason);
        }
    }

    /// <summary>A peer has left: calls that still need it cannot end.</summary>
    public void AbortOperationsThatNeed(int peer)
    {
        Operation[] open;
        lock (_gate)
        {
            open = [.. _operations.Values];
        }

        foreach (var operation in open)
        {
            bool needed;
            lock (operation.Gate)
            {
                needed = operation.Needs(peer);
            }

            if (needed)
            {
                Owner.Abort($"Rank {peer} has left generation {Owner.Generation}, but {operation.Name} of rank {Owner.Rank} needs it.", peer);
            }
        }
    }

    private async Task SendAfterAsync(Task previous, Operation operation, CancellationToken cancellationToken)
    {
        // Off the caller's thread: backward goes on while the frames are written.
        await previous.ConfigureAwait(ConfigureAwaitOptions.ForceYielding | ConfigureAwaitOptions.SuppressThrowing);
        await SendAsync(operation, cancellationToken).ConfigureAwait(false);
    }

    private async Task SendAsync(Operation operation, CancellationToken cancellationToken)
    {
        try
        {
            await operation.SendAsync(this, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception exception)
        {
            // The stream's reader knows better who is at fault, and mostly has said so already.
            Owner.Suspect(null, $"{operation.Name} of rank {Owner.Rank} could not send: {exception.Message}", exception);
        }
    }

    private void Remove(Operation operation)
    {
        lock (_gate)
        {
            _operations.Remove(operation.Sequence);
        }
    }
}

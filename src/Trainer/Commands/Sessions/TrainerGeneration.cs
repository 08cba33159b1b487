using DarkMatter.Protocol;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>
/// One generation of a trainer: its streams to the peers, its batches, its steps. It ends at once when the silo says so, whatever the
/// training thread is doing.
/// </summary>
internal sealed class TrainerGeneration : IDisposable
{
    private readonly Assignment assignment;
    private readonly TrainerSession session;
    private readonly PeerServer peers;
    private readonly TimeSpan connectTimeout;
    private readonly CancellationTokenSource over = new();
    private ICollective? ranks;

    /// <summary>Begins to listen for the end.</summary>
    public TrainerGeneration(Assignment assignment, TrainerSession session, PeerServer peers, TimeSpan connectTimeout)
    {
        (this.assignment, this.session, this.peers, this.connectTimeout) = (assignment, session, peers, connectTimeout);
        session.Orders.AtOnce += End;
        if (session.Orders.Pending is { AtOnce: true } already)
        {
            End(already);
        }
    }

    /// <summary>Whether the silo has ended this generation: what breaks now is no peer's fault.</summary>
    public bool IsOver => over.IsCancellationRequested;

    /// <summary>Why, if it has.</summary>
    public string Why { get; private set; } = "";

    /// <summary>Connects, agrees on the state and trains.</summary>
    /// <exception cref="CollectiveAbortedException">A peer is lost, or the generation is over.</exception>
    /// <exception cref="OperationCanceledException">The generation is over.</exception>
    public TrainResult Train(PreparedRun run, RunLogs logs)
    {
        var state = run.State;
        var early = default(LoaderViews);
        using var given = CancellationTokenSource.CreateLinkedTokenSource(over.Token);
        var connecting = Task.Run(() => ConnectAsync(given.Token));
        try
        {
            // The truth may be another step's; mostly it is the one in memory, and the first batch is ready when the streams stand.
            early = run.Open(assignment, state.Holds ? state.Step : assignment.StartStep, session);
            ranks = connecting.GetAwaiter().GetResult();
            if (IsOver)
            {
                Abort();
            }
            return TrainingRun.Generation(run.At(assignment), state, step => Take(step, ref early), ranks, session, over.Token);
        }
        finally
        {
            _ = early?.DisposeAsync().AsTask();
            given.Cancel();
            _ = CloseAsync(connecting);
        }

        IViewSource Take(long step, ref LoaderViews? early)
        {
            logs.Open(assignment.Rank, step);
            var source = early;
            early = null;
            if (source?.StartStep == step)
            {
                return source;
            }
            _ = source?.DisposeAsync().AsTask();
            return run.Open(assignment, step, session);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => session.Orders.AtOnce -= End;

    private async Task<ICollective> ConnectAsync(CancellationToken cancellationToken)
    {
        if (assignment.World == 1)
        {
            return new SingleRank(assignment.Generation);
        }
        var options = new CollectiveOptions
        {
            Generation = assignment.Generation,
            Rank = assignment.Rank,
            Peers = [.. assignment.Peers.Select(peer => peer.Address)],
            ConnectTimeout = connectTimeout,
        };
        var connected = await GrpcCollective.ConnectAsync(peers, options, cancellationToken);
        connected.Worked += session.Progressed;
        return connected;
    }

    /// <summary>Lets go of the streams, also where nobody waited until they stood.</summary>
    private static async Task CloseAsync(Task<ICollective> connecting)
    {
        await ((Task)connecting).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (connecting.IsCompletedSuccessfully)
        {
            await (await connecting).DisposeAsync();
        }
    }

    private void End(Order order)
    {
        if (order is Order.Train { Assignment.Generation: var next } && next <= assignment.Generation)
        {
            return;
        }
        Why = order.Reason;
        over.Cancel();
        Abort();
    }

    private void Abort() => (ranks as GrpcCollective)?.Abort(Why);
}

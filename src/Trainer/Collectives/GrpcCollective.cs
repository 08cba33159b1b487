using System.Globalization;
using Grpc.Core;

namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// The collectives of one generation between trainers, over gRPC streams. Small calls are one exchange of every rank with every
/// other, large ones a ring. Calls begin on one thread; the first failure ends the generation on every rank.
/// </summary>
public sealed partial class GrpcCollective : ICollective
{
    private static readonly TimeSpan ControlPatience = TimeSpan.FromSeconds(1);

    // A broken stream is often the echo of a failure elsewhere; the word of who failed may be on its way on another stream.
    private static readonly TimeSpan SuspicionPatience = TimeSpan.FromMilliseconds(100);

    private readonly PeerServer _server;
    private readonly CollectiveOptions _options;
    private readonly Traffic _blocking;
    private readonly Traffic _background;
    private readonly CancellationTokenSource _aborted = new();
    private readonly CancellationTokenSource _ended = new();
    private readonly TaskCompletionSource _connected = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<Task> _receiving = [];
    private readonly List<Dial> _dials = [];
    private readonly Lock _gate = new();
    private readonly Timer _watch;
    private int _missingLinks;
    private int _disposed;
    private CollectiveAbortedException? _reason;
    private bool _leaving;

    private GrpcCollective(PeerServer server, CollectiveOptions options)
    {
        (_server, _options) = (server, options);
        _blocking = new Traffic(this, 0, options);
        _background = new Traffic(this, 1, options);
        _missingLinks = 2 * Enumerable.Range(0, World).Count(IsLinked);
        _watch = new Timer(_ => CheckDeadlines(), null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));
    }

    /// <summary>Called once when the generation has been aborted, with the reason.</summary>
    public event Action<CollectiveAbortedException>? Aborted;

    /// <inheritdoc/>
    public int Rank => _options.Rank;

    /// <inheritdoc/>
    public int World => _options.Peers.Count;

    /// <inheritdoc/>
    public long Generation => _options.Generation;

    private bool IsDirect => World <= _options.DirectWorld || World <= 2;

    /// <summary>Connects a rank with its peers; returns when every stream stands.</summary>
    /// <exception cref="ArgumentException">The options cannot be used; the message lists every problem.</exception>
    /// <exception cref="CollectiveAbortedException">A peer could not be reached in time, or refused.</exception>
    public static async Task<GrpcCollective> ConnectAsync(PeerServer server, CollectiveOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(server);
        ArgumentNullException.ThrowIfNull(options);
        if (options.Problems() is { Count: > 0 } problems)
        {
            throw new ArgumentException($"The collective's options cannot be used: {string.Join(" ", problems)}", nameof(options));
        }

        var collective = new GrpcCollective(server, options);
        try
        {
            await collective.ConnectAsync(cancellationToken).ConfigureAwait(false);
            return collective;
        }
        catch
        {
            await collective.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>
    /// Ends the generation here and, as far as they can be reached, on the other ranks: calls under way and later ones throw.
    /// </summary>
    /// <param name="reason">What happened, for people.</param>
    /// <param name="failedRank">The rank at fault, if known.</param>
    /// <param name="cause">The exception behind it.</param>
    public void Abort(string reason, int? failedRank = null, Exception? cause = null) => Abort(reason, failedRank, cause, tellPeers: true);

    internal void AbortedByPeer(int peer, int failedRank, string reason) =>
        Abort($"Rank {peer} aborted: {reason}", failedRank >= 0 ? failedRank : null, null, tellPeers: !IsDirect);

    /// <summary>A stream broke. Someone else may know why: the generation is aborted a moment later, unless it was for a better reason.</summary>
    internal void Suspect(int? peer, string reason, Exception? cause)
    {
        if (_leaving || _reason is not null)
        {
            return;
        }

        _ = AbortSoonAsync();

        async Task AbortSoonAsync()
        {
            await Task.Delay(peer is null ? 2 * SuspicionPatience : SuspicionPatience).ConfigureAwait(false);
            if (!_leaving)
            {
                Abort(reason, peer, cause);
            }
        }
    }

    /// <summary>Serves the stream that a peer opened.</summary>
    internal async Task ServeAsync(
        int peer, int world, int traffic, IAsyncStreamReader<PeerFrame> reader, IServerStreamWriter<PeerFrame> writer, ServerCallContext context)
    {
        if (world != World || peer <= Rank || peer >= World || traffic is not (0 or 1))
        {
            throw new RpcException(new Status(
                StatusCode.InvalidArgument, $"rank {Rank} of {World} takes no stream {traffic} from rank {peer} of {world} in generation {Generation}"));
        }

        var link = new PeerLink(peer, traffic == 0 ? _blocking : _background, writer, _options);
        if (!link.Traffic.TryAttach(link))
        {
            throw new RpcException(new Status(StatusCode.AlreadyExists, $"rank {peer} is connected to rank {Rank} already in generation {Generation}"));
        }

        await context.WriteResponseHeadersAsync(new Metadata { { PeerMethod.RankKey, Rank.ToString(CultureInfo.InvariantCulture) } }).ConfigureAwait(false);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, _ended.Token);
        var receiving = ReceiveAsync(link, reader, ended.Token);
        Attached(receiving);
        await Task.WhenAny(receiving, _closed.Task).ConfigureAwait(false);
        await ended.CancelAsync().ConfigureAwait(false);
        await receiving.ConfigureAwait(false);
    }

    /// <summary>Leaves in good order: peers that need nothing more of this rank are not disturbed.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        _leaving = true;
        await _watch.DisposeAsync().ConfigureAwait(false);
        if (_reason is null)
        {
            await TellAsync(FrameKind.Leave, 0, default).ConfigureAwait(false);
        }

        var left = new CollectiveAbortedException($"Rank {Rank} has left generation {Generation}: its collective was disposed.", _reason?.FailedRank);
        _blocking.Abort(_reason ?? left);
        _background.Abort(_reason ?? left);
        await CloseAsync().ConfigureAwait(false);
    }

    private bool IsLinked(int peer) =>
        peer != Rank && (IsDirect || peer == (Rank + 1) % World || peer == (Rank + World - 1) % World);

    private async Task ConnectAsync(CancellationToken cancellationToken)
    {
        _server.Register(this);
        if (_missingLinks == 0)
        {
            return;
        }

        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _ended.Token);
        patience.CancelAfter(_options.ConnectTimeout);
        try
        {
            // A rank calls those below it; those above call it.
            var dialling = Enumerable.Range(0, Rank).Where(IsLinked)
                .SelectMany(peer => new[] { DialAsync(peer, _blocking, patience.Token), DialAsync(peer, _background, patience.Token) });
            await Task.WhenAll(dialling).ConfigureAwait(false);
            await _connected.Task.WaitAsync(patience.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            if (_reason is { } reason)
            {
                throw new CollectiveAbortedException(reason.Message, reason.FailedRank, reason);
            }

            var missing = Enumerable.Range(0, World).Where(peer => IsLinked(peer) && !_blocking.Links.Concat(_background.Links).Any(link => link.Peer == peer)).ToArray();
            throw new CollectiveAbortedException(
                $"Rank {Rank} of generation {Generation} had no stream with rank {string.Join(", ", missing)} ({string.Join(", ", missing.Select(peer => _options.Peers[peer]))}) " +
                $"within {_options.ConnectTimeout.TotalSeconds:F0} s.", missing.Length == 1 ? missing[0] : null);
        }
    }

    private async Task DialAsync(int peer, Traffic traffic, CancellationToken cancellationToken)
    {
        var headers = Headers(traffic.Number);
        while (true)
        {
            var channel = PeerTransport.Connect(_options.Peers[peer]);
            var call = channel.CreateCallInvoker().AsyncDuplexStreamingCall(PeerMethod.Exchange, null, new CallOptions(headers));
            try
            {
                var accepted = await call.ResponseHeadersAsync.WaitAsync(cancellationToken).ConfigureAwait(false);
                if (accepted.GetValue(PeerMethod.RankKey) is null)
                {
                    // A refusal has headers too, but not these; reading throws it.
                    await call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false);
                    throw new RpcException(new Status(StatusCode.Unknown, "it ended the stream at once"));
                }

                var link = new PeerLink(peer, traffic, call.RequestStream, _options);
                traffic.TryAttach(link);
                var receiving = ReceiveAsync(link, call.ResponseStream, _ended.Token);
                lock (_gate)
                {
                    _dials.Add(new Dial(channel, call, receiving));
                }

                Attached(receiving);
                return;
            }
            catch (RpcException exception) when (exception.StatusCode == StatusCode.Unavailable)
            {
                // It does not listen yet, or has not heard of the generation yet.
                Dispose(channel, call);
                await Task.Delay(SuspicionPatience, cancellationToken).ConfigureAwait(false);
            }
            catch (RpcException exception)
            {
                Dispose(channel, call);
                throw new CollectiveAbortedException(
                    $"Rank {peer} ({_options.Peers[peer]}) refused rank {Rank} of generation {Generation}: {exception.Status.Detail}.", peer, exception);
            }
            catch
            {
                Dispose(channel, call);
                throw;
            }
        }

        static void Dispose(Grpc.Net.Client.GrpcChannel channel, IDisposable call)
        {
            call.Dispose();
            channel.Dispose();
        }
    }

    private void Attached(Task receiving)
    {
        lock (_gate)
        {
            _receiving.Add(receiving);
            if (--_missingLinks == 0)
            {
                _connected.TrySetResult();
            }
        }
    }

    private async Task ReceiveAsync(PeerLink link, IAsyncStreamReader<PeerFrame> reader, CancellationToken cancellationToken)
    {
        try
        {
            await link.ReceiveAsync(reader, cancellationToken).ConfigureAwait(false);
            if (!link.PeerLeft)
            {
                Suspect(link.Peer, $"Rank {link.Peer} ended its stream to rank {Rank} without leaving generation {Generation}.", null);
            }
        }
        catch (Exception exception)
        {
            if (!link.PeerLeft)
            {
                Suspect(link.Peer, $"The stream of rank {Rank} with rank {link.Peer} ({_options.Peers[link.Peer]}) broke: {Describe(exception)}", exception);
            }
        }
    }

    private static string Describe(Exception exception) => exception is RpcException rpc ? rpc.Status.Detail : exception.Message;

    private void CheckDeadlines()
    {
        foreach (var traffic in new[] { _blocking, _background })
        {
            if (traffic.Oldest() is { } operation && PatienceLeft(operation) < TimeSpan.Zero)
            {
                AbortLate(operation);
            }
        }
    }

    private void AbortLate(Operation operation)
    {
        var missing = operation.MissingRank;
        var whom = missing is null ? "could not send to its peers" : $"had nothing from rank {missing}";
        Abort($"{operation.Name} (call {operation.Sequence} of generation {Generation}) of rank {Rank} {whom} within {_options.Timeout.TotalSeconds:F0} s.", missing);
    }

    private void Abort(string reason, int? failedRank, Exception? cause, bool tellPeers)
    {
        var first = Interlocked.CompareExchange(ref _reason, new CollectiveAbortedException(reason, failedRank, cause), null) is null;

        // Whoever aborts may count on this when it returns, even if another thread was first: no call touches its caller's memory any more.
        _blocking.Abort(_reason);
        _background.Abort(_reason);
        if (!first)
        {
            return;
        }

        // Not on this thread: it may hold the gate of a stream or of a call.
        _ = Task.Run(() => EndAsync(_reason, tellPeers));
    }

    private async Task EndAsync(CollectiveAbortedException reason, bool tellPeers)
    {
        await _aborted.CancelAsync().ConfigureAwait(false);
        Aborted?.Invoke(reason);
        if (tellPeers)
        {
            await TellAsync(FrameKind.Abort, reason.FailedRank ?? -1, System.Text.Encoding.UTF8.GetBytes(reason.Message)).ConfigureAwait(false);
        }

        await CloseAsync().ConfigureAwait(false);
    }

    /// <summary>Sends a control frame to every peer; one that does not take it is left out.</summary>
    private async Task TellAsync(FrameKind kind, int index, ReadOnlyMemory<byte> payload, IEnumerable<PeerLink>? links = null)
    {
        using var patience = new CancellationTokenSource(ControlPatience);
        var header = new FrameHeader(kind, Generation, 0, index, 0, payload.Length);
        await Task.WhenAll((links ?? _blocking.Links.Concat(_background.Links)).Select(async link =>
        {
            try
            {
                await link.WriteAsync(header, payload, null, patience.Token).WaitAsync(patience.Token).ConfigureAwait(false);
            }
            catch (Exception exception) when (exception is RpcException or OperationCanceledException or InvalidOperationException or IOException)
            {
                // The stream is broken or full; its end says the same to the peer.
            }
        })).ConfigureAwait(false);
    }

    /// <summary>Half-closes every stream, gives the peers a moment to do so too, and cuts what is left.</summary>
    private async Task CloseAsync()
    {
        _server.Unregister(this);
        Dial[] dials;
        Task[] receiving;
        lock (_gate)
        {
            (dials, receiving) = ([.. _dials], [.. _receiving]);
            _dials.Clear();
        }

        foreach (var dial in dials)
        {
            await dial.Call.RequestStream.CompleteAsync().ConfigureAwait(false);
        }

        _closed.TrySetResult();
        await Task.WhenAny(Task.WhenAll(receiving), Task.Delay(ControlPatience)).ConfigureAwait(false);
        await _ended.CancelAsync().ConfigureAwait(false);
        foreach (var dial in dials)
        {
            dial.Call.Dispose();
            dial.Channel.Dispose();
        }

        await Task.WhenAll(receiving).WaitAsync(ControlPatience).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private sealed record Dial(Grpc.Net.Client.GrpcChannel Channel, AsyncDuplexStreamingCall<PeerFrame, PeerFrame> Call, Task Receiving);
}

using System.Diagnostics;
using Grpc.Common;
using Grpc.Core;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Grpc.AspNetCore.Server;

/// <summary>
/// A served call: what its request says, and its end, which comes once, from the handler or from the deadline.
/// </summary>
internal sealed class HttpServerCallContext(HttpContext http, string method) : ServerCallContext, IDisposable
{
    private const int Http2Cancel = 0x8;
    private static readonly TimeSpan LongestTimer = TimeSpan.FromMilliseconds(uint.MaxValue - 2);

    private readonly Lock _gate = new();
    private CancellationTokenSource? _cancellation;
    private Timer? _timer;
    private Task _deadlineEnd = Task.CompletedTask;
    private Metadata? _requestHeaders;
    private bool _ended;
    private bool _writing;
    private bool _wrote;

    protected override string MethodCore => method;

    protected override string HostCore => http.Request.Host.Value ?? "";

    protected override string PeerCore => http.Connection.RemoteIpAddress is not { } address
        ? "unknown"
        : address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork
            ? $"ipv4:{address}:{http.Connection.RemotePort}"
            : $"ipv6:[{address}]:{http.Connection.RemotePort}";

    protected override DateTime DeadlineCore => _deadline;

    protected override Metadata RequestHeadersCore => _requestHeaders ??= ReadHeaders();

    protected override CancellationToken CancellationTokenCore => _cancellation?.Token ?? http.RequestAborted;

    protected override Metadata ResponseTrailersCore { get; } = [];

    protected override Status StatusCore { get; set; } = Status.DefaultSuccess;

    protected override WriteOptions? WriteOptionsCore { get; set; }

    private DateTime _deadline = DateTime.MaxValue;
    private TimeSpan _allowed;
    private long _began;

    /// <summary>Reads the deadline and starts to watch it.</summary>
    public void Start()
    {
        if (http.Request.Headers[Wire.TimeoutHeader] is not [{ Length: > 0 } text])
        {
            return;
        }

        if (!Wire.TryDecodeTimeout(text, out var timeout))
        {
            throw new RpcException(new Status(StatusCode.Internal, $"The grpc-timeout '{text}' is not at most eight digits and one of n, u, m, S, M, H."));
        }

        var now = DateTime.UtcNow;
        _deadline = timeout < DateTime.MaxValue - now ? now + timeout : DateTime.MaxValue;
        (_allowed, _began) = (timeout, Stopwatch.GetTimestamp());
        _cancellation = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted);
        _timer = new Timer(static context => ((HttpServerCallContext)context!).CheckDeadline(), this, Timeout.Infinite, Timeout.Infinite);
        CheckDeadline();
    }

    /// <summary>Opens a write of a message; false where the call has ended.</summary>
    public bool TryBeginWrite()
    {
        lock (_gate)
        {
            if (_writing)
            {
                throw new InvalidOperationException("The message cannot be written: the previous write has not ended. Await it first.");
            }

            _writing = !_ended;
            _wrote |= _writing;
            return _writing;
        }
    }

    public void EndWrite()
    {
        lock (_gate)
        {
            _writing = false;
        }
    }

    /// <summary>Sends the status that the handler left, unless the deadline ended the call before.</summary>
    public async Task EndAsync()
    {
        if (_timer is not null)
        {
            await _timer.DisposeAsync().ConfigureAwait(false);
        }

        if (TryEnd(out _))
        {
            WriteEnd();
        }

        await _deadlineEnd.ConfigureAwait(false);
    }

    public void Dispose()
    {
        _timer?.Dispose();
        _cancellation?.Dispose();
    }

    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders)
    {
        ArgumentNullException.ThrowIfNull(responseHeaders);
        if (http.Response.HasStarted)
        {
            throw new InvalidOperationException("The response's headers were sent already; they go before the first message.");
        }

        lock (_gate)
        {
            _wrote = true;
        }

        CallRunner.WriteMetadata(http.Response.Headers, responseHeaders);
        return http.Response.BodyWriter.FlushAsync().GetAsTask();
    }

    private bool TryEnd(out bool writing)
    {
        lock (_gate)
        {
            writing = _writing;
            var first = !_ended;
            _ended = true;
            return first;
        }
    }

    private void CheckDeadline()
    {
        var remaining = _allowed - Stopwatch.GetElapsedTime(_began);
        if (remaining > TimeSpan.Zero)
        {
            try
            {
                var wait = remaining < LongestTimer ? remaining + TimeSpan.FromMilliseconds(1) : LongestTimer;
                _timer!.Change(wait, Timeout.InfiniteTimeSpan);
            }
            catch (ObjectDisposedException)
            {
                // The call has ended meanwhile.
            }
        }
        else if (TryEnd(out var writing))
        {
            _deadlineEnd = EndByDeadlineAsync(writing);
        }
    }

    private async Task EndByDeadlineAsync(bool writing)
    {
        if (writing)
        {
            // The message under way waits for the client's window, so trailers cannot follow it. The client knows its deadline.
            http.Features.Get<IHttpResetFeature>()?.Reset(Http2Cancel);
        }
        else
        {
            Status = new Status(StatusCode.DeadlineExceeded, "The deadline passed before the call was complete.");
            WriteEnd();
            await http.Response.CompleteAsync().ConfigureAwait(false);
        }

        // After the status is on its way: a handler that ends because of this must not be able to send another.
        await _cancellation!.CancelAsync().ConfigureAwait(false);
    }

    private void WriteEnd()
    {
        // Without messages the status goes into the headers, and the response is these headers alone.
        var destination = _wrote || http.Response.HasStarted
            ? http.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers
            : http.Response.Headers;
        CallRunner.WriteMetadata(destination, ResponseTrailers);
        CallRunner.WriteStatus(destination, Status);
    }

    private Metadata ReadHeaders()
    {
        var metadata = new Metadata();
        foreach (var (name, values) in http.Request.Headers)
        {
            if (!Wire.IsReserved(name))
            {
                foreach (var value in values)
                {
                    Wire.AddReceived(metadata, name, value ?? "");
                }
            }
        }

        return metadata;
    }
}

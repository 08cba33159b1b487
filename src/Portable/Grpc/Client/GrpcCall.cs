using System.Diagnostics;
using System.IO.Pipelines;
using System.Net;
using Grpc.Common;
using Grpc.Core;

namespace Grpc.Net.Client;

/// <summary>
/// One call from its request's headers to its status. Whatever ends it first (trailers, a broken stream, deadline, cancellation,
/// dispose) decides the status; everything later sees that one.
/// </summary>
internal sealed class GrpcCall<TRequest, TResponse> : IDisposable
    where TRequest : class
    where TResponse : class
{
    private const int ReadBufferBytes = 64 * 1024;
    private static readonly TimeSpan OutcomeAfterFailedWrite = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LongestTimer = TimeSpan.FromMilliseconds(uint.MaxValue - 2);

    private readonly GrpcChannel _channel;
    private readonly Method<TRequest, TResponse> _method;
    private readonly string? _host;
    private readonly CallOptions _options;
    private readonly CancellationTokenSource _ended = new();
    private readonly TaskCompletionSource<Metadata> _headers = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<Outcome> _outcome = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _gate = new();
    private readonly TimeSpan _allowed;
    private readonly long _began = Stopwatch.GetTimestamp();
    private Timer? _deadline;
    private CancellationTokenRegistration _cancellation;
    private HttpResponseMessage? _response;
    private MessageReader? _reader;
    private Task _started = Task.CompletedTask;
    private bool _readsOutcome;

    public GrpcCall(GrpcChannel channel, Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        (_channel, _method, _host, _options) = (channel, method, host, options);
        Ended = _ended.Token;
        channel.Started(this);
        Observe(_headers.Task);
        _cancellation = options.CancellationToken.UnsafeRegister(static call => ((GrpcCall<TRequest, TResponse>)call!).CancelByToken(), this);
        // The moment that the caller named becomes a span at once: a clock that is set later does not move it.
        _allowed = options.Deadline is { } deadline && deadline != DateTime.MaxValue ? deadline - DateTime.UtcNow : TimeSpan.MaxValue;
        StartDeadline();
    }

    /// <summary>Fires when the call has its status.</summary>
    public CancellationToken Ended { get; }

    public Task<Metadata> ResponseHeadersAsync => _headers.Task;

    public WriteOptions? DefaultWriteOptions => _options.WriteOptions;

    public Action<TRequest, SerializationContext> Serializer => _method.RequestMarshaller.ContextualSerializer;

    public MessageWriter CreateWriter() => new(_channel.MaxSendBytes);

    /// <summary>Sends the request and receives the response's headers.</summary>
    public void Start(RequestContent content)
    {
        _started = StartAsync(content);
        Observe(_started);
    }

    /// <summary>Runs a call with one response.</summary>
    public async Task<TResponse> RunAsync(RequestContent content)
    {
        _started = StartAsync(content);
        _readsOutcome = true;
        try
        {
            await _started.ConfigureAwait(false);
            var (hasMessage, message) = await _reader!
                .ReadOnlyOneAsync(_method.ResponseMarshaller.ContextualDeserializer, Ended).ConfigureAwait(false);
            var (status, trailers) = FailureStatus.OfTrailers(_response!);
            if (status.StatusCode == StatusCode.OK && !hasMessage)
            {
                status = new Status(StatusCode.Internal, "The call ended with OK but without its response.");
            }

            End(status, trailers);
            ThrowUnlessOk();
            return message!;
        }
        catch (Exception exception)
        {
            throw End(exception);
        }
    }

    /// <summary>Reads the next response of a stream; false at its end with OK.</summary>
    public async Task<(bool HasMessage, TResponse? Message)> ReadAsync(CancellationToken cancellationToken)
    {
        using var registration = cancellationToken.UnsafeRegister(
            static call => ((GrpcCall<TRequest, TResponse>)call!).CancelByToken(), this);
        try
        {
            await _started.ConfigureAwait(false);
            if (_outcome.Task.IsCompleted)
            {
                ThrowUnlessOk();
                return default;
            }

            var next = await _reader!.ReadAsync(_method.ResponseMarshaller.ContextualDeserializer, Ended).ConfigureAwait(false);
            if (!next.HasMessage)
            {
                var (status, trailers) = FailureStatus.OfTrailers(_response!);
                End(status, trailers);
                ThrowUnlessOk();
            }

            return next;
        }
        catch (Exception exception)
        {
            throw End(exception);
        }
    }

    /// <summary>
    /// What a failed write means. The server may have ended the call while the message was on its way, and then its status, which the
    /// response carries, is the cause.
    /// </summary>
    public async Task<Exception> WriteFailureAsync(Exception exception)
    {
        try
        {
            await _started.ConfigureAwait(false);
            if (_readsOutcome)
            {
                await _outcome.Task.WaitAsync(OutcomeAfterFailedWrite).ConfigureAwait(false);
            }
        }
        catch (Exception known) when (known is RpcException or TimeoutException)
        {
            // Either the call's outcome says the same, or there is none and the write's own failure is the best answer.
        }

        return _outcome.Task.IsCompleted && _outcome.Task.Result.Status.StatusCode == StatusCode.OK
            ? new InvalidOperationException("The message cannot be written: the call is complete.")
            : _outcome.Task.IsCompleted ? Failed() : new RpcException(FailureStatus.Of(exception));
    }

    public Status GetStatus() => Completed().Status;

    public Metadata GetTrailers() => Completed().Trailers;

    public void Dispose() => End(new Status(StatusCode.Cancelled, "The call was disposed before it was complete."), new Metadata());

    private async Task StartAsync(RequestContent content)
    {
        try
        {
            Ended.ThrowIfCancellationRequested();
            var request = CreateRequest(content);
            var response = await _channel.SendAsync(request, Ended).ConfigureAwait(false);
            lock (_gate)
            {
                _response = response;
            }

            if (Ended.IsCancellationRequested)
            {
                response.Dispose();
            }

            var status = FailureStatus.OfHeaders(response);
            _headers.TrySetResult(FailureStatus.ReadMetadata(response.Headers));
            if (status is { } final)
            {
                // No message at all, and yet OK: a stream that the server ended before it said anything.
                End(final, FailureStatus.ReadMetadata(response.Headers));
                ThrowUnlessOk();
                return;
            }

            var body = await response.Content.ReadAsStreamAsync(Ended).ConfigureAwait(false);
            var encoding = response.Headers.TryGetValues(Wire.EncodingHeader, out var values) ? values.First() : null;
            _reader = new MessageReader(
                PipeReader.Create(body, new StreamPipeReaderOptions(bufferSize: ReadBufferBytes, minimumReadSize: 4096)), _channel.MaxReceiveBytes, encoding);
        }
        catch (Exception exception)
        {
            throw End(exception);
        }
    }

    private HttpRequestMessage CreateRequest(RequestContent content)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_channel.Address, _method.FullName))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
        request.Headers.Host = _host;
        request.Headers.TryAddWithoutValidation("te", "trailers");
        request.Headers.TryAddWithoutValidation("user-agent", "grpc-dotnet-portable");
        request.Headers.TryAddWithoutValidation(Wire.AcceptEncodingHeader, Wire.Identity);
        if (_allowed != TimeSpan.MaxValue)
        {
            request.Headers.TryAddWithoutValidation(Wire.TimeoutHeader, Wire.EncodeTimeout(Remaining));
        }

        foreach (var entry in _options.Headers ?? Metadata.Empty)
        {
            if (!Wire.IsReserved(entry.Key))
            {
                request.Headers.TryAddWithoutValidation(entry.Key, Wire.EncodeValue(entry));
            }
        }

        return request;
    }

    private void StartDeadline()
    {
        if (_allowed == TimeSpan.MaxValue)
        {
            return;
        }

        if (_options.Deadline!.Value.Kind == DateTimeKind.Local)
        {
            throw new ArgumentException("A deadline is a moment in UTC: use DateTime.UtcNow + the time allowed.");
        }

        _deadline = new Timer(static call => ((GrpcCall<TRequest, TResponse>)call!).CheckDeadline(), this, Timeout.Infinite, Timeout.Infinite);
        CheckDeadline();
    }

    /// <summary>Ends the call if its deadline has passed, else looks again then. A timer may fire early, and cannot wait for more than 49 days.</summary>
    private void CheckDeadline()
    {
        var remaining = Remaining;
        if (remaining <= TimeSpan.Zero)
        {
            End(new Status(StatusCode.DeadlineExceeded, $"{_method.FullName} did not finish before its deadline."), new Metadata());
        }
        else
        {
            var wait = remaining < LongestTimer ? remaining + TimeSpan.FromMilliseconds(1) : LongestTimer;
            try
            {
                _deadline!.Change(wait, Timeout.InfiniteTimeSpan);
            }
            catch (ObjectDisposedException)
            {
                // The call has ended meanwhile.
            }
        }
    }

    private TimeSpan Remaining => _allowed - Stopwatch.GetElapsedTime(_began);

    private static void Observe(Task task) => task.ContinueWith(
        static faulted => _ = faulted.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);

    public void CancelByToken() => End(new Status(StatusCode.Cancelled, "The call was cancelled by the client."), new Metadata());

    /// <summary>Ends the call because of this, and returns what the caller is to see.</summary>
    private RpcException End(Exception exception)
    {
        if (exception is RpcException rpc)
        {
            End(rpc.Status, rpc.Trailers);
        }
        else
        {
            End(FailureStatus.Of(exception), new Metadata());
        }

        return Failed();
    }

    private void End(Status status, Metadata trailers)
    {
        if (!_outcome.TrySetResult(new Outcome(status, trailers)))
        {
            return;
        }

        _channel.Ended(this);
        _deadline?.Dispose();
        _cancellation.Unregister();
        _headers.TrySetException(new RpcException(status, trailers));
        _ended.Cancel();
        HttpResponseMessage? response;
        lock (_gate)
        {
            response = _response;
        }

        // Resets the stream unless it has ended.
        response?.Dispose();
    }

    private void ThrowUnlessOk()
    {
        if (_outcome.Task.Result.Status.StatusCode != StatusCode.OK)
        {
            throw Failed();
        }
    }

    private RpcException Failed()
    {
        var outcome = _outcome.Task.Result;
        return new RpcException(outcome.Status, outcome.Trailers);
    }

    private Outcome Completed() =>
        _outcome.Task.IsCompleted
            ? _outcome.Task.Result
            : throw new InvalidOperationException($"{_method.FullName} still runs: its status and trailers are known when it is complete.");

    private sealed record Outcome(Status Status, Metadata Trailers);
}

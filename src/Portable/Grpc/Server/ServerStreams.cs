using Grpc.Common;
using Grpc.Core;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Grpc.AspNetCore.Server;

/// <summary>The messages of a served call, in both directions.</summary>
internal sealed class ServerStreams<TRequest, TResponse> : IAsyncStreamReader<TRequest>, IServerStreamWriter<TResponse>
    where TRequest : class
    where TResponse : class
{
    private const int Http2InternalError = 0x2;

    private readonly HttpContext _http;
    private readonly Method<TRequest, TResponse> _method;
    private readonly HttpServerCallContext _context;
    private readonly MessageReader _reader;
    private readonly MessageWriter _writer;
    private TRequest? _current;

    public ServerStreams(HttpContext http, Method<TRequest, TResponse> method, HttpServerCallContext context, GrpcServiceOptions options)
    {
        (_http, _method, _context) = (http, method, context);
        var encoding = http.Request.Headers[Wire.EncodingHeader];
        _reader = new MessageReader(http.Request.BodyReader, options.MaxReceiveMessageSize, encoding.Count > 0 ? encoding[0] : null);
        _writer = new MessageWriter(options.MaxSendMessageSize, http.Response.BodyWriter);
        if (encoding.Count > 0 && encoding[0] != Wire.Identity)
        {
            http.Response.Headers[Wire.AcceptEncodingHeader] = Wire.Identity;
        }
    }

    public ServerCallContext Context => _context;

    public TRequest Current => _current ?? throw new InvalidOperationException("There is no current message: MoveNext has not returned true.");

    public WriteOptions? WriteOptions { get; set; }

    public async Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        _current = null;
        var (hasMessage, message) = await _reader.ReadAsync(_method.RequestMarshaller.ContextualDeserializer, cancellationToken).ConfigureAwait(false);
        _current = message;
        return hasMessage;
    }

    /// <summary>Reads the request of a method with one.</summary>
    public async ValueTask<TRequest> ReadOnlyRequestAsync()
    {
        var (hasMessage, message) = await _reader
            .ReadOnlyOneAsync(_method.RequestMarshaller.ContextualDeserializer, CancellationToken.None).ConfigureAwait(false);
        return hasMessage
            ? message!
            : throw new RpcException(new Status(StatusCode.Internal, $"{_method.FullName} takes one request; the stream ended without it."));
    }

    /// <summary>Writes the response of a method with one. It leaves together with the status.</summary>
    public Task WriteOnlyResponseAsync(TResponse? response)
    {
        if (response is null)
        {
            throw new RpcException(new Status(StatusCode.Cancelled, $"The handler of {_method.FullName} returned no response."));
        }

        return _context.Status.StatusCode == StatusCode.OK ? WriteAsync(response, flush: false, CancellationToken.None) : Task.CompletedTask;
    }

    public Task WriteAsync(TResponse message) => WriteAsync(message, CancellationToken.None);

    public Task WriteAsync(TResponse message, CancellationToken cancellationToken) =>
        WriteAsync(message, ((WriteOptions ?? _context.WriteOptions)?.Flags & WriteFlags.BufferHint).GetValueOrDefault() == 0, cancellationToken);

    private async Task WriteAsync(TResponse message, bool flush, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (!_context.TryBeginWrite())
        {
            throw new InvalidOperationException("The message cannot be written: the call has ended.");
        }

        try
        {
            _writer.Write(message, _method.ResponseMarshaller.ContextualSerializer);
            if (flush)
            {
                var result = await _http.Response.BodyWriter.FlushAsync(cancellationToken).ConfigureAwait(false);
                if (result.IsCompleted)
                {
                    throw new OperationCanceledException($"The client of {_method.FullName} has gone.", _http.RequestAborted);
                }
            }
        }
        finally
        {
            if (_writer.IsPartial)
            {
                _http.Features.Get<IHttpResetFeature>()?.Reset(Http2InternalError);
            }

            _writer.Release();
            _context.EndWrite();
        }
    }
}

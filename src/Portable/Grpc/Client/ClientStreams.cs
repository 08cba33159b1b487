using Grpc.Common;
using Grpc.Core;

namespace Grpc.Net.Client;

/// <summary>Reads a call's responses.</summary>
internal sealed class ClientStreamReader<TRequest, TResponse>(GrpcCall<TRequest, TResponse> call) : IAsyncStreamReader<TResponse>
    where TRequest : class
    where TResponse : class
{
    private TResponse? _current;

    public TResponse Current => _current ?? throw new InvalidOperationException("There is no current message: MoveNext has not returned true.");

    public async Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        _current = null;
        var (hasMessage, message) = await call.ReadAsync(cancellationToken).ConfigureAwait(false);
        _current = message;
        return hasMessage;
    }
}

/// <summary>Writes a call's requests.</summary>
internal sealed class ClientStreamWriter<TRequest, TResponse>(GrpcCall<TRequest, TResponse> call, StreamingContent content)
    : IClientStreamWriter<TRequest>
    where TRequest : class
    where TResponse : class
{
    private readonly MessageWriter _writer = call.CreateWriter();
    private Stream? _stream;
    private int _busy;
    private bool _complete;

    public WriteOptions? WriteOptions { get; set; } = call.DefaultWriteOptions;

    public Task WriteAsync(TRequest message) => WriteAsync(message, CancellationToken.None);

    public async Task WriteAsync(TRequest message, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (_complete)
        {
            throw new InvalidOperationException("The message cannot be written: the request stream is complete.");
        }

        if (Interlocked.Exchange(ref _busy, 1) != 0)
        {
            throw new InvalidOperationException("The message cannot be written: the previous write has not ended. Await it first.");
        }

        try
        {
            var bytes = _writer.Write(message, call.Serializer);
            await SendAsync(bytes, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _writer.Release();
            Volatile.Write(ref _busy, 0);
        }
    }

    public Task CompleteAsync()
    {
        _complete = true;
        content.Complete();
        return Task.CompletedTask;
    }

    private async Task SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        try
        {
            _stream ??= await content.StreamAsync.ConfigureAwait(false);
            await _stream.WriteAsync(bytes, cancellationToken).ConfigureAwait(false);
            if (((WriteOptions?.Flags ?? 0) & WriteFlags.BufferHint) == 0)
            {
                await _stream.FlushAsync(cancellationToken).ConfigureAwait(false);
            }
        }
        catch (Exception exception)
        {
            if (cancellationToken.IsCancellationRequested)
            {
                // A part of the message may be on its way: the stream cannot go on.
                call.CancelByToken();
            }

            throw await call.WriteFailureAsync(exception).ConfigureAwait(false);
        }
    }
}

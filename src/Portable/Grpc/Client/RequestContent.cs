using System.Net;
using Grpc.Common;
using Grpc.Core;

namespace Grpc.Net.Client;

/// <summary>The body of a request: gRPC messages of unknown number.</summary>
internal abstract class RequestContent : HttpContent
{
    protected RequestContent() => Headers.TryAddWithoutValidation("content-type", Wire.ContentType);

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected abstract override Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken);

    protected override bool TryComputeLength(out long length)
    {
        length = -1;
        return false;
    }
}

/// <summary>A body of one message.</summary>
internal sealed class UnaryContent<TRequest>(TRequest request, MessageWriter writer, Action<TRequest, SerializationContext> serializer)
    : RequestContent
{
    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        try
        {
            await stream.WriteAsync(writer.Write(request, serializer), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            writer.Release();
        }
    }
}

/// <summary>A body that lives as long as its writer; it ends when the writer completes it or the call ends.</summary>
internal sealed class StreamingContent : RequestContent
{
    private readonly TaskCompletionSource<Stream> _stream = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _complete = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public StreamingContent(CancellationToken callEnded) => callEnded.UnsafeRegister(
        static (content, token) =>
        {
            ((StreamingContent)content!)._stream.TrySetCanceled(token);
            ((StreamingContent)content)._complete.TrySetCanceled(token);
        },
        this);

    /// <summary>Where messages go, once the request's headers are on their way.</summary>
    public Task<Stream> StreamAsync => _stream.Task;

    /// <summary>Half-closes.</summary>
    public void Complete() => _complete.TrySetResult();

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        // The server may answer before the first message is written: the headers must not wait for it.
        await stream.FlushAsync(cancellationToken).ConfigureAwait(false);
        _stream.TrySetResult(stream);
        await _complete.Task.ConfigureAwait(false);
    }
}

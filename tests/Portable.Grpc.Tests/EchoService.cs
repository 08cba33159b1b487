using Google.Protobuf;
using Grpc.Core;

namespace DarkMatter.Portable.Grpc.Tests;

/// <summary>What a test sees of the server's side.</summary>
public sealed class EchoProbe
{
    /// <summary>Ends when a handler has started.</summary>
    public TaskCompletionSource Started { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Ends when a handler has seen its cancellation.</summary>
    public TaskCompletionSource Cancelled { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The deadline that the last handler saw.</summary>
    public DateTime Deadline { get; set; }

    /// <summary>Messages that the last handler has written.</summary>
    public int Written { get; set; }
}

/// <summary>Does what each request says.</summary>
public sealed class EchoService(EchoProbe probe) : Echo.EchoBase
{
    public override async Task<Reply> Unary(Request request, ServerCallContext context)
    {
        await ObeyAsync(request, context);
        return Answer(request, 1, request.Data.Length);
    }

    public override async Task<Reply> ClientStream(IAsyncStreamReader<Request> requestStream, ServerCallContext context)
    {
        var received = 0;
        var bytes = 0L;
        var last = new Request();
        await EchoMetadataAsync(context);
        await foreach (var request in requestStream.ReadAllAsync(context.CancellationToken))
        {
            (received, bytes, last) = (received + 1, bytes + request.Data.Length, request);
            await ObeyAsync(request, context, metadata: false);
            if (request.CloseEarly)
            {
                break;
            }
        }

        return Answer(last, received, bytes);
    }

    public override async Task ServerStream(Request request, IServerStreamWriter<Reply> responseStream, ServerCallContext context)
    {
        await EchoMetadataAsync(context);
        for (var i = 0; i < request.Count; i++)
        {
            await responseStream.WriteAsync(Answer(request, i + 1, request.Data.Length));
            probe.Written = i + 1;
        }

        await ObeyAsync(request, context, metadata: false);
    }

    public override async Task Bidi(IAsyncStreamReader<Request> requestStream, IServerStreamWriter<Reply> responseStream, ServerCallContext context)
    {
        await EchoMetadataAsync(context);
        var received = 0;
        var bytes = 0L;
        while (await requestStream.MoveNext(context.CancellationToken))
        {
            var request = requestStream.Current;
            (received, bytes) = (received + 1, bytes + request.Data.Length);
            await ObeyAsync(request, context, metadata: false);
            await responseStream.WriteAsync(Answer(request, received, bytes));
            if (request.CloseEarly)
            {
                return;
            }
        }
    }

    private static Reply Answer(Request request, int received, long bytes) => new()
    {
        Text = request.Text,
        Data = request.ReplyBytes > 0 ? ByteString.CopyFrom(new byte[request.ReplyBytes]) : request.Data,
        Received = received,
        ReceivedBytes = bytes,
    };

    private static async Task EchoMetadataAsync(ServerCallContext context)
    {
        var initial = new Metadata();
        foreach (var entry in context.RequestHeaders)
        {
            if (entry.Key.StartsWith("echo-initial", StringComparison.Ordinal))
            {
                initial.Add(entry);
            }
            else if (entry.Key.StartsWith("echo-trailing", StringComparison.Ordinal))
            {
                context.ResponseTrailers.Add(entry);
            }
        }

        if (initial.Count > 0)
        {
            await context.WriteResponseHeadersAsync(initial);
        }
    }

    private async Task ObeyAsync(Request request, ServerCallContext context, bool metadata = true)
    {
        probe.Deadline = context.Deadline;
        probe.Started.TrySetResult();
        if (metadata)
        {
            await EchoMetadataAsync(context);
        }

        if (request.SleepMs > 0)
        {
            try
            {
                await Task.Delay(request.SleepMs, context.CancellationToken);
            }
            catch (OperationCanceledException)
            {
                probe.Cancelled.TrySetResult();
                throw;
            }
        }

        if (request.Fail)
        {
            throw new InvalidOperationException("a secret of the handler");
        }

        if (request.Status != 0)
        {
            throw new RpcException(new Status((StatusCode)request.Status, request.StatusMessage));
        }
    }
}

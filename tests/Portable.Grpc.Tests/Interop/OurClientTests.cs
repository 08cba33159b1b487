using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Portable.Grpc.Tests.Interop;

/// <summary>This client calls a server of @grpc/grpc-js.</summary>
public sealed class OurClientTests(NodePeer peer) : IClassFixture<NodePeer>, IDisposable
{
    private readonly GrpcChannel _channel = GrpcChannel.ForAddress(peer.Address, new GrpcChannelOptions { MaxReceiveMessageSize = null });

    public static TheoryData<int> ErrorCodes => [.. Enumerable.Range(1, 16)];

    private static DateTime Soon => DateTime.UtcNow + EchoHost.Patience;

    private Echo.EchoClient Client => new(_channel);

    public void Dispose() => _channel.Dispose();

    [Theory]
    [MemberData(nameof(ErrorCodes))]
    public async Task Unary_Fails_ItsCodeAndMessageArrive(int code)
    {
        using var call = Client.UnaryAsync(new Request { Status = code, StatusMessage = "naïve 100 % – 試験" }, deadline: Soon);
        var failure = await Should.ThrowAsync<RpcException>(async () => await call);
        failure.StatusCode.ShouldBe((StatusCode)code);
        failure.Status.Detail.ShouldBe("naïve 100 % – 試験");
        call.GetStatus().StatusCode.ShouldBe((StatusCode)code);
    }

    [Fact]
    public async Task Unary_Succeeds() =>
        (await Client.UnaryAsync(new Request { Text = "hello" }, deadline: Soon)).Text.ShouldBe("hello");

    [Fact]
    public async Task ClientStream_CountsEveryMessage()
    {
        using var call = Client.ClientStream(deadline: Soon);
        for (var i = 0; i < 20; i++)
        {
            await call.RequestStream.WriteAsync(new Request { Data = ByteString.CopyFrom(new byte[1000]) });
        }

        await call.RequestStream.CompleteAsync();
        var reply = await call;
        (reply.Received, reply.ReceivedBytes).ShouldBe((20, 20_000));
    }

    [Fact]
    public async Task ClientStream_ServerEndsEarly_ResponseArrives()
    {
        using var call = Client.ClientStream(deadline: Soon);
        await call.RequestStream.WriteAsync(new Request { Text = "enough", CloseEarly = true });
        (await call).Text.ShouldBe("enough");
    }

    [Fact]
    public async Task ServerStream_GivesEveryReplyThenTheStatus()
    {
        using var call = Client.ServerStream(new Request { Count = 7, Status = 10, StatusMessage = "later" }, deadline: Soon);
        var seen = new List<int>();
        var failure = await Should.ThrowAsync<RpcException>(async () =>
        {
            await foreach (var reply in call.ResponseStream.ReadAllAsync())
            {
                seen.Add(reply.Received);
            }
        });
        seen.ShouldBe(Enumerable.Range(1, 7));
        failure.Status.ShouldBe(new Status(StatusCode.Aborted, "later"));
    }

    [Fact]
    public async Task Bidi_AnswersEachMessageBeforeTheNext()
    {
        using var call = Client.Bidi(deadline: Soon);
        for (var i = 1; i <= 10; i++)
        {
            await call.RequestStream.WriteAsync(new Request { Text = $"{i}" });
            (await call.ResponseStream.MoveNext()).ShouldBeTrue();
            call.ResponseStream.Current.ShouldBe(new Reply { Text = $"{i}", Received = i });
        }

        await call.RequestStream.CompleteAsync();
        (await call.ResponseStream.MoveNext()).ShouldBeFalse();
        call.GetStatus().StatusCode.ShouldBe(StatusCode.OK);
    }

    [Fact]
    public async Task Metadata_TextAndBinary_ComesBackInHeadersAndTrailers()
    {
        var octets = new byte[] { 0, 1, 250, 255 };
        var headers = new Metadata
        {
            { "echo-initial-text", "a b" }, { "echo-initial-bin", octets }, { "echo-trailing-text", "c" }, { "echo-trailing-bin", octets },
        };
        using var call = Client.UnaryAsync(new Request(), headers, Soon);
        var initial = await call.ResponseHeadersAsync;
        await call;
        initial.GetValue("echo-initial-text").ShouldBe("a b");
        initial.GetValueBytes("echo-initial-bin").ShouldBe(octets);
        call.GetTrailers().GetValue("echo-trailing-text").ShouldBe("c");
        call.GetTrailers().GetValueBytes("echo-trailing-bin").ShouldBe(octets);
    }

    [Fact]
    public async Task Deadline_Passes_IsDeadlineExceeded()
    {
        var failure = await Should.ThrowAsync<RpcException>(
            async () => await Client.UnaryAsync(new Request { SleepMs = 60_000 }, deadline: DateTime.UtcNow.AddMilliseconds(150)));
        failure.StatusCode.ShouldBe(StatusCode.DeadlineExceeded);
    }

    [Fact]
    public async Task Client_Cancels_HandlerSeesIt()
    {
        using var cancel = new CancellationTokenSource();
        using var call = Client.Bidi(cancellationToken: cancel.Token);
        await call.RequestStream.WriteAsync(new Request { Text = "go" });
        (await call.ResponseStream.MoveNext()).ShouldBeTrue();
        await cancel.CancelAsync();
        var failure = await Should.ThrowAsync<RpcException>(() => call.ResponseStream.MoveNext());
        failure.StatusCode.ShouldBe(StatusCode.Cancelled);
        await peer.DoAsync("cancelled");
    }

    [Fact]
    public async Task LargeMessages_BothWays_Arrive()
    {
        var data = new byte[20_000_000];
        new Random(7).NextBytes(data);
        var reply = await Client.UnaryAsync(new Request { Data = ByteString.CopyFrom(data) }, deadline: Soon);
        reply.Data.Span.SequenceEqual(data).ShouldBeTrue();
    }

    [Fact]
    public async Task LargeReply_OverTheLimit_IsResourceExhausted()
    {
        using var channel = GrpcChannel.ForAddress(peer.Address);
        var failure = await Should.ThrowAsync<RpcException>(
            async () => await new Echo.EchoClient(channel).UnaryAsync(new Request { ReplyBytes = 5_000_000 }, deadline: Soon));
        failure.StatusCode.ShouldBe(StatusCode.ResourceExhausted);
    }

    [Theory]
    [InlineData("""{"body":"AAAA","trailers":{"grpc-status":"0"}}""", StatusCode.Internal, "inside a message")]
    [InlineData("""{"body":"BwAAAAA=","trailers":{"grpc-status":"0"}}""", StatusCode.Internal, "flag 7")]
    [InlineData("""{"body":"AQAAAAA=","trailers":{"grpc-status":"0"}}""", StatusCode.Internal, "names no encoding")]
    [InlineData("""{"body":"AQAAAAA=","headers":{"grpc-encoding":"gzip"},"trailers":{"grpc-status":"0"}}""", StatusCode.Unimplemented, "gzip")]
    [InlineData("""{"body":"AAAAAAL//w==","trailers":{"grpc-status":"0"}}""", StatusCode.Internal, "could not be parsed")]
    [InlineData("""{"body":"","trailers":{"grpc-status":"0"}}""", StatusCode.Internal, "without its response")]
    [InlineData("""{"body":"AAAAAAAAAAAAAA==","trailers":{"grpc-status":"0"}}""", StatusCode.Internal, "Additional data")]
    [InlineData("""{"body":"AAAAAAA="}""", StatusCode.Unknown, "without a grpc-status")]
    [InlineData("""{"body":"","trailers":{"grpc-status":"x"}}""", StatusCode.Unknown, "not a number")]
    [InlineData("""{"body":"","trailers":{"grpc-status":"77","grpc-message":"new"}}""", StatusCode.Unknown, "new")]
    [InlineData("""{"endStream":true,"headers":{"grpc-status":"9","grpc-message":"at%20once%0a"}}""", StatusCode.FailedPrecondition, "at once\n")]
    [InlineData("""{"body":"aGk=","headers":{":status":503}}""", StatusCode.Unavailable, "HTTP status 503")]
    [InlineData("""{"body":"aGk=","headers":{":status":404,"content-type":"text/plain"}}""", StatusCode.Unimplemented, "HTTP status 404")]
    [InlineData("""{"body":"aGk=","headers":{"content-type":"text/html"}}""", StatusCode.Unknown, "text/html")]
    [InlineData("""{"reset":7}""", StatusCode.Unavailable, "reset")]
    [InlineData("""{"reset":8}""", StatusCode.Cancelled, "reset")]
    [InlineData("""{"reset":2}""", StatusCode.Internal, "reset")]
    [InlineData("""{"reset":11}""", StatusCode.ResourceExhausted, "reset")]
    public async Task MalformedAnswer_HasItsStatus(string answer, StatusCode code, string detail)
    {
        using var channel = GrpcChannel.ForAddress(peer.RawAddress);
        var headers = new Metadata { { "x-answer", Convert.ToBase64String(Encoding.UTF8.GetBytes(answer)) } };
        var failure = await Should.ThrowAsync<RpcException>(
            async () => await new Echo.EchoClient(channel).UnaryAsync(new Request(), headers, Soon));
        failure.StatusCode.ShouldBe(code, failure.Status.Detail);
        failure.Status.Detail.ShouldContain(detail);
    }
}

using System.Net;
using System.Net.Sockets;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Portable.Grpc.Tests;

/// <summary>This client calls this server.</summary>
public sealed class CallTests
{
    private static DateTime Soon => DateTime.UtcNow + EchoHost.Patience;

    [Fact]
    public Task Blocking_Unary_Succeeds() => OnOurServer((client, _) =>
    {
        client.Unary(new Request { Text = "x" }, deadline: Soon).Text.ShouldBe("x");
        return Task.CompletedTask;
    });

    [Fact]
    public Task Deadline_IsKnownToTheHandler() => OnOurServer(async (client, host) =>
    {
        var deadline = DateTime.UtcNow.AddSeconds(25);
        await client.UnaryAsync(new Request(), deadline: deadline);
        host.Probe.Deadline.ShouldBe(deadline, TimeSpan.FromSeconds(5));
    });

    [Fact]
    public Task Deadline_AlreadyPassed_FailsWithoutACall() => OnOurServer(async (client, host) =>
    {
        var failure = await Should.ThrowAsync<RpcException>(async () => await client.UnaryAsync(new Request(), deadline: DateTime.UtcNow.AddSeconds(-1)));
        failure.StatusCode.ShouldBe(StatusCode.DeadlineExceeded);
        host.Probe.Started.Task.IsCompleted.ShouldBeFalse();
    });

    [Theory]
    [InlineData("ServerStream")]
    [InlineData("ClientStream")]
    [InlineData("Bidi")]
    public Task Deadline_OfAStream_EndsItOnBothSides(string shape) => OnOurServer(async (client, host) =>
    {
        var slow = new Request { SleepMs = 60_000 };
        var deadline = DateTime.UtcNow.AddSeconds(2);
        var failure = await Should.ThrowAsync<RpcException>(async () =>
        {
            switch (shape)
            {
                case "ServerStream":
                    using (var call = client.ServerStream(slow, deadline: deadline))
                    {
                        await call.ResponseStream.MoveNext();
                    }

                    break;
                case "ClientStream":
                    using (var call = client.ClientStream(deadline: deadline))
                    {
                        await call.RequestStream.WriteAsync(slow);
                        await call;
                    }

                    break;
                default:
                    using (var call = client.Bidi(deadline: deadline))
                    {
                        await call.RequestStream.WriteAsync(slow);
                        await call.ResponseStream.MoveNext();
                    }

                    break;
            }
        });
        failure.StatusCode.ShouldBe(StatusCode.DeadlineExceeded);
        await host.Probe.Cancelled.Task.WaitAsync(EchoHost.Patience);
    });

    [Fact]
    public Task Dispose_OfARunningCall_CancelsTheHandler() => OnOurServer(async (client, host) =>
    {
        using (var call = client.UnaryAsync(new Request { SleepMs = 60_000 }))
        {
            await host.Probe.Started.Task.WaitAsync(EchoHost.Patience);
        }

        await host.Probe.Cancelled.Task.WaitAsync(EchoHost.Patience);
    });

    [Fact]
    public Task Token_CancelsBeforeTheCall() => OnOurServer(async (client, _) =>
    {
        var failure = await Should.ThrowAsync<RpcException>(
            async () => await client.UnaryAsync(new Request(), cancellationToken: new CancellationToken(canceled: true)));
        failure.StatusCode.ShouldBe(StatusCode.Cancelled);
    });

    [Fact]
    public Task Handler_Throws_DetailsStayOnTheServer() => OnOurServer(async (client, _) =>
    {
        var failure = await Should.ThrowAsync<RpcException>(async () => await client.UnaryAsync(new Request { Fail = true }, deadline: Soon));
        failure.Status.ShouldBe(new Status(StatusCode.Unknown, "Exception was thrown by handler."));
    });

    [Fact]
    public async Task Handler_Throws_DetailsAreToldWhereAskedFor()
    {
        await using var host = await EchoHost.StartAsync(options => options.EnableDetailedErrors = true);
        using var channel = host.Connect();
        var failure = await Should.ThrowAsync<RpcException>(
            async () => await new Echo.EchoClient(channel).UnaryAsync(new Request { Fail = true }, deadline: Soon));
        failure.Status.Detail.ShouldEndWith("InvalidOperationException: a secret of the handler");
    }

    [Fact]
    public Task Handler_EndsABidiEarly_ReaderSeesTheEndAndWriterFails() => OnOurServer(async (client, _) =>
    {
        using var call = client.Bidi(deadline: Soon);
        await call.RequestStream.WriteAsync(new Request { CloseEarly = true });
        (await call.ResponseStream.MoveNext()).ShouldBeTrue();
        (await call.ResponseStream.MoveNext()).ShouldBeFalse();
        await Should.ThrowAsync<InvalidOperationException>(() => call.RequestStream.WriteAsync(new Request()));
    });

    [Fact]
    public Task Handler_FailsABidi_WriterLearnsTheStatus() => OnOurServer(async (client, _) =>
    {
        using var call = client.Bidi(deadline: Soon);
        await call.RequestStream.WriteAsync(new Request { Status = (int)StatusCode.FailedPrecondition, StatusMessage = "generation 3 is over" });
        var seen = await Should.ThrowAsync<RpcException>(() => call.ResponseStream.MoveNext());
        seen.Status.ShouldBe(new Status(StatusCode.FailedPrecondition, "generation 3 is over"));
        var write = await Should.ThrowAsync<RpcException>(() => call.RequestStream.WriteAsync(new Request()));
        write.Status.ShouldBe(seen.Status);
    });

    [Fact]
    public Task Writer_WithAWriteUnderWay_RefusesTheNext() => OnOurServer(async (client, _) =>
    {
        using var call = client.ServerStream(new Request { Count = 1 }, deadline: Soon);
        using var bidi = client.Bidi(deadline: Soon);
        var large = new Request { Data = ByteString.CopyFrom(new byte[3_000_000]) };
        var first = bidi.RequestStream.WriteAsync(large);
        if (!first.IsCompleted)
        {
            await Should.ThrowAsync<InvalidOperationException>(() => bidi.RequestStream.WriteAsync(large));
        }

        await first;
        await bidi.RequestStream.CompleteAsync();
        (await Should.ThrowAsync<InvalidOperationException>(() => bidi.RequestStream.WriteAsync(large))).Message.ShouldContain("complete");
    });

    [Fact]
    public Task Backpressure_ReaderStops_WriterStops() => OnOurServer(async (client, host) =>
    {
        using var call = client.ServerStream(new Request { Count = 1000, ReplyBytes = 1_000_000 }, deadline: Soon);
        (await call.ResponseStream.MoveNext()).ShouldBeTrue();

        // The server has stopped when its count stays the same while a unary call goes there and back many times.
        var before = -1;
        while (before != host.Probe.Written)
        {
            before = host.Probe.Written;
            for (var i = 0; i < 50; i++)
            {
                await client.UnaryAsync(new Request(), deadline: Soon);
            }
        }

        before.ShouldBeLessThan(100, "windows of some MB hold it back from 1000 MB");
        for (var i = 0; i < 20; i++)
        {
            (await call.ResponseStream.MoveNext()).ShouldBeTrue();
        }
    });

    [Fact]
    public async Task MessageToSend_OverTheLimit_IsResourceExhausted()
    {
        await using var host = await EchoHost.StartAsync(options => options.MaxSendMessageSize = 1000);
        using var channel = host.Connect(new GrpcChannelOptions { MaxSendMessageSize = 2000 });
        var client = new Echo.EchoClient(channel);
        var ours = await Should.ThrowAsync<RpcException>(
            async () => await client.UnaryAsync(new Request { Data = ByteString.CopyFrom(new byte[2001]) }, deadline: Soon));
        ours.StatusCode.ShouldBe(StatusCode.ResourceExhausted);
        var theirs = await Should.ThrowAsync<RpcException>(async () => await client.UnaryAsync(new Request { ReplyBytes = 1001 }, deadline: Soon));
        theirs.StatusCode.ShouldBe(StatusCode.ResourceExhausted);
        theirs.Status.Detail.ShouldContain("MaxSendMessageSize");
    }

    [Fact]
    public Task Channel_Disposed_EndsItsCalls() => OnOurServer(async (_, host) =>
    {
        var channel = host.Connect();
        using var call = new Echo.EchoClient(channel).UnaryAsync(new Request { SleepMs = 60_000 });
        await host.Probe.Started.Task.WaitAsync(EchoHost.Patience);
        channel.Dispose();
        (await Should.ThrowAsync<RpcException>(async () => await call)).StatusCode.ShouldBe(StatusCode.Cancelled);
    });

    [Fact]
    public async Task NobodyListens_IsUnavailable()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        listener.Stop();
        using var channel = GrpcChannel.ForAddress($"http://127.0.0.1:{port}");
        var failure = await Should.ThrowAsync<RpcException>(async () => await new Echo.EchoClient(channel).UnaryAsync(new Request(), deadline: Soon));
        failure.StatusCode.ShouldBe(StatusCode.Unavailable);
    }

    [Fact]
    public async Task Server_StopsDuringACall_IsUnavailable()
    {
        await using var host = await EchoHost.StartAsync();
        await using var relay = new Relay(host.Address.Port);
        using var channel = GrpcChannel.ForAddress($"http://127.0.0.1:{relay.Port}");
        using var call = new Echo.EchoClient(channel).Bidi(deadline: Soon);
        await call.RequestStream.WriteAsync(new Request());
        (await call.ResponseStream.MoveNext()).ShouldBeTrue();
        await relay.DisposeAsync();
        (await Should.ThrowAsync<RpcException>(() => call.ResponseStream.MoveNext())).StatusCode.ShouldBe(StatusCode.Unavailable);
    }

    [Fact]
    public async Task KeepAlive_PeerGoesSilent_CallEndsUnavailable()
    {
        await using var host = await EchoHost.StartAsync();
        await using var relay = new Relay(host.Address.Port);
        using var handler = new SocketsHttpHandler
        {
            KeepAlivePingDelay = TimeSpan.FromSeconds(1),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(1),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
        };
        using var channel = GrpcChannel.ForAddress($"http://127.0.0.1:{relay.Port}", new GrpcChannelOptions { HttpHandler = handler });
        using var call = new Echo.EchoClient(channel).Bidi(deadline: Soon);
        await call.RequestStream.WriteAsync(new Request());
        (await call.ResponseStream.MoveNext()).ShouldBeTrue();
        relay.Silence();
        var failure = await Should.ThrowAsync<RpcException>(() => call.ResponseStream.MoveNext());
        failure.StatusCode.ShouldBe(StatusCode.Unavailable, failure.ToString());
    }

    [Fact]
    public Task Status_OfARunningCall_IsNotKnown() => OnOurServer((client, _) =>
    {
        using var call = client.Bidi(deadline: Soon);
        Should.Throw<InvalidOperationException>(() => call.GetStatus());
        Should.Throw<InvalidOperationException>(() => call.GetTrailers());
        return Task.CompletedTask;
    });

    private static async Task OnOurServer(Func<Echo.EchoClient, EchoHost, Task> test)
    {
        await using var host = await EchoHost.StartAsync();
        using var channel = host.Connect(new GrpcChannelOptions { MaxReceiveMessageSize = null });
        await test(new Echo.EchoClient(channel), host);
    }
}

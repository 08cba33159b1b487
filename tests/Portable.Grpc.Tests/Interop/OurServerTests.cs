using System.Globalization;
using System.Text.Json.Nodes;

namespace DarkMatter.Portable.Grpc.Tests.Interop;

/// <summary>@grpc/grpc-js calls this server.</summary>
public sealed class OurServerTests(NodePeer peer) : IClassFixture<NodePeer>
{
    public static TheoryData<int> ErrorCodes => [.. Enumerable.Range(1, 16)];

    [Theory]
    [MemberData(nameof(ErrorCodes))]
    public async Task Unary_Fails_ItsCodeAndMessageArrive(int code)
    {
        await using var host = await EchoHost.StartAsync();
        var result = await CallAsync(host, "unary", [new { status = code, statusMessage = "naïve 100 % – 試験\r\n" }]);
        ((int)result["code"]!).ShouldBe(code);
        ((string)result["details"]!).ShouldBe("naïve 100 % – 試験\r\n");
    }

    [Theory]
    [InlineData("unary", 1, 1)]
    [InlineData("clientStream", 5, 1)]
    [InlineData("serverStream", 1, 5)]
    [InlineData("bidi", 5, 5)]
    public async Task EveryShape_Succeeds_MessagesArriveInOrder(string method, int requests, int replies)
    {
        await using var host = await EchoHost.StartAsync();
        var result = await CallAsync(
            host, method, [.. Enumerable.Range(0, requests).Select(i => (object)new { text = $"message {i}", count = 5, dataBytes = 10 })]);
        ((int)result["code"]!).ShouldBe(0);
        var received = result["replies"]!.AsArray();
        received.Count.ShouldBe(replies);
        ((int)received[^1]!["received"]!).ShouldBe(Math.Max(requests, replies));
    }

    [Fact]
    public async Task Metadata_TextAndBinary_ComesBackInHeadersAndTrailers()
    {
        await using var host = await EchoHost.StartAsync();
        var octets = Convert.ToBase64String([0, 1, 250, 255]);
        var result = await CallAsync(host, "unary", [new { text = "m" }], metadata: [
            ["echo-initial-text", "a b"], ["echo-initial-bin", octets], ["echo-trailing-text", "c"], ["echo-trailing-bin", octets]]);
        Entries(result["initial"]!).ShouldContain(("echo-initial-text", "a b"));
        Entries(result["initial"]!).ShouldContain(("echo-initial-bin", octets));
        Entries(result["trailing"]!).ShouldContain(("echo-trailing-text", "c"));
        Entries(result["trailing"]!).ShouldContain(("echo-trailing-bin", octets));
    }

    [Fact]
    public async Task Deadline_Passes_BothSidesSeeIt()
    {
        await using var host = await EchoHost.StartAsync();
        var result = await CallAsync(host, "unary", [new { sleepMs = 60_000 }], timeoutMs: 2000);
        ((int)result["code"]!).ShouldBe(4);
        await host.Probe.Cancelled.Task.WaitAsync(EchoHost.Patience);
    }

    [Fact]
    public async Task Client_Cancels_HandlerSeesIt()
    {
        await using var host = await EchoHost.StartAsync();
        var result = await CallAsync(host, "unary", [new { sleepMs = 60_000 }], cancelAfterMs: 2000);
        ((int)result["code"]!).ShouldBe(1);
        await host.Probe.Cancelled.Task.WaitAsync(EchoHost.Patience);
    }

    [Fact]
    public async Task LargeMessages_WithinRaisedLimits_Arrive()
    {
        await using var host = await EchoHost.StartAsync(options => options.MaxReceiveMessageSize = null);
        var result = await CallAsync(host, "bidi", [new { dataBytes = 20_000_000 }, new { dataBytes = 5_000_000 }]);
        ((int)result["code"]!).ShouldBe(0);
        ((int)result["replies"]![0]!["bytes"]!).ShouldBe(20_000_000);
        ((int)result["replies"]![1]!["receivedBytes"]!).ShouldBe(25_000_000);
    }

    [Fact]
    public async Task LargeMessage_OverTheLimit_IsResourceExhausted()
    {
        await using var host = await EchoHost.StartAsync();
        var result = await CallAsync(host, "unary", [new { dataBytes = 5_000_000 }]);
        ((int)result["code"]!).ShouldBe(8);
        ((string)result["details"]!).ShouldContain("MaxReceiveMessageSize");
    }

    [Fact]
    public async Task Handler_ThrowsAnything_ClientLearnsNothingOfIt()
    {
        await using var host = await EchoHost.StartAsync();
        var result = await CallAsync(host, "unary", [new { fail = true }]);
        ((int)result["code"]!).ShouldBe(2);
        ((string)result["details"]!).ShouldBe("Exception was thrown by handler.");
    }

    [Fact]
    public async Task UnknownMethod_IsUnimplemented()
    {
        await using var host = await EchoHost.StartAsync();
        var result = await peer.DoAsync("raw", new { address = host.Address.ToString(), method = "Unheard", body = "AAAAAAA=" });
        StatusOf(result).ShouldBe(12);
    }

    // A body by hand: flag, four bytes of length, payload.
    [Theory]
    [InlineData("ends in the prefix", "AAAA", 13)]
    [InlineData("ends in the payload", "AAAAAAoK", 13)]
    [InlineData("nothing", "", 13)]
    [InlineData("flag 7", "BwAAAAA=", 13)]
    [InlineData("compressed without encoding", "AQAAAAA=", 13)]
    [InlineData("two messages", "AAAAAAAAAAAAAA==", 13)]
    [InlineData("length 4 GiB", "AP////8=", 8)]
    [InlineData("not protobuf", "AAAAAAL//w==", 13)]
    public async Task MalformedFrame_HasItsStatus(string name, string body, int code)
    {
        await using var host = await EchoHost.StartAsync();
        var result = await peer.DoAsync("raw", new { address = host.Address.ToString(), method = "Unary", body });
        StatusOf(result).ShouldBe(code, name);
    }

    [Fact]
    public async Task Compressed_WithUnknownEncoding_IsUnimplementedAndNamesWhatIsAccepted()
    {
        await using var host = await EchoHost.StartAsync();
        var result = await peer.DoAsync("raw", new
        {
            address = host.Address.ToString(),
            method = "Unary",
            body = "AQAAAAA=",
            headers = new Dictionary<string, string> { ["grpc-encoding"] = "gzip" },
        });
        StatusOf(result).ShouldBe(12);
        ((string)result["headers"]!["grpc-accept-encoding"]!).ShouldBe("identity");
    }

    [Fact]
    public async Task WrongContentType_IsHttp415()
    {
        await using var host = await EchoHost.StartAsync();
        var result = await peer.DoAsync("raw", new
        {
            address = host.Address.ToString(),
            method = "Unary",
            body = "AAAAAAA=",
            headers = new Dictionary<string, string> { ["content-type"] = "application/json" },
        });
        ((int)result["headers"]![":status"]!).ShouldBe(415);
    }

    private static int StatusOf(JsonObject raw) =>
        int.Parse((string?)raw["trailers"]!["grpc-status"] ?? (string)raw["headers"]!["grpc-status"]!, CultureInfo.InvariantCulture);

    private static (string, string)[] Entries(JsonNode node) =>
        [.. node.AsArray().Select(entry => ((string)entry![0]!, (string)entry[1]!))];

    private Task<JsonObject> CallAsync(
        EchoHost host, string method, object[] requests, string[][]? metadata = null, int? timeoutMs = null, int? cancelAfterMs = null) =>
        peer.DoAsync("call", new { address = host.Address.Authority, method, requests, metadata, timeoutMs, cancelAfterMs });
}

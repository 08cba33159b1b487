using Grpc.Common;
using Grpc.Core;

namespace DarkMatter.Portable.Grpc.Tests;

public sealed class WireTests
{
    [Theory]
    [InlineData("plain text", "plain text")]
    [InlineData("100 %", "100 %25")]
    [InlineData("line\nbreak", "line%0Abreak")]
    [InlineData("é", "%C3%A9")]
    public void Message_IsPercentEncodedAndBack(string text, string encoded)
    {
        Wire.EncodeMessage(text).ShouldBe(encoded);
        Wire.DecodeMessage(encoded).ShouldBe(text);
    }

    [Theory]
    [InlineData("%", "%")]
    [InlineData("%zz", "%zz")]
    [InlineData("%2", "%2")]
    [InlineData("a%2Fb%", "a/b%")]
    public void Message_WithBrokenEscapes_StaysReadable(string encoded, string text) => Wire.DecodeMessage(encoded).ShouldBe(text);

    [Theory]
    [InlineData(1, "1u")]
    [InlineData(15_000_000, "1500000u")]
    [InlineData(36_000_000_000, "3600000m")]
    [InlineData(864_000_000_000_000, "86400000S")]
    [InlineData(8_640_000_000_000_000, "14400000M")]
    public void Timeout_HasAtMostEightDigitsAndRoundsUp(long ticks, string expected)
    {
        var text = Wire.EncodeTimeout(TimeSpan.FromTicks(ticks));
        text.Length.ShouldBeLessThanOrEqualTo(9);
        text.ShouldBe(expected);
        Wire.TryDecodeTimeout(text, out var back).ShouldBeTrue();
        back.ShouldBeGreaterThanOrEqualTo(TimeSpan.FromTicks(ticks));
    }

    [Theory]
    [InlineData("")]
    [InlineData("5")]
    [InlineData("S")]
    [InlineData("-1S")]
    [InlineData("123456789S")]
    [InlineData("1x")]
    [InlineData(" 1S")]
    public void Timeout_ThatIsNone_IsRefused(string text) => Wire.TryDecodeTimeout(text, out _).ShouldBeFalse();

    [Fact]
    public void Metadata_TextKeyWithBytes_Throws() =>
        Should.Throw<ArgumentException>(() => new Metadata { { "key", new byte[] { 1 } } }).Message.ShouldContain("'-bin'");

    [Fact]
    public void Metadata_BinaryKeyWithText_Throws() =>
        Should.Throw<ArgumentException>(() => new Metadata { { "key-bin", "text" } }).Message.ShouldContain("bytes");

    [Fact]
    public void Metadata_BinaryValues_ComeUnpaddedAndJoined()
    {
        var metadata = new Metadata();
        Wire.AddReceived(metadata, "k-bin", "AQ,AQI");
        metadata.GetAll("K-BIN").Select(entry => entry.ValueBytes).ShouldBe([[1], [1, 2]]);
    }

    [Fact]
    public void Metadata_BinaryValueThatIsNotBase64_Throws() =>
        Should.Throw<RpcException>(() => Wire.AddReceived([], "k-bin", "*")).StatusCode.ShouldBe(StatusCode.Internal);
}

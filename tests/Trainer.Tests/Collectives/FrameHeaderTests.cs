using System.Buffers;
using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Tests.Collectives;

public sealed class FrameHeaderTests
{
    private static readonly FrameHeader Header = new(FrameKind.SumOfFloats, 3, 5_000_000_000, 7, 6_000_000_000, 4);

    [Fact]
    public void Header_IsReadAsItWasWritten() => FrameHeader.Read(Message()).ShouldBe(Header);

    [Fact]
    public void Header_CutBySegments_IsReadTheSame()
    {
        var bytes = Message().ToArray();
        for (var cut = 1; cut < bytes.Length; cut++)
        {
            FrameHeader.Read(Segments.Of(bytes[..cut], bytes[cut..])).ShouldBe(Header);
        }
    }

    [Theory]
    [InlineData(0, 0, "444D01")]
    [InlineData(2, 2, "another version")]
    [InlineData(3, 200, "unknown kind 200")]
    [InlineData(32, 5, "announces 5 bytes and carries 4")]
    [InlineData(35, 255, "announces")]
    public void Header_Broken_IsRefused(int at, byte value, string message)
    {
        var bytes = Message().ToArray();
        bytes[at] = value;
        Should.Throw<InvalidDataException>(() => FrameHeader.Read(new ReadOnlySequence<byte>(bytes))).Message.ShouldContain(message);
    }

    [Fact]
    public void Message_TooShort_IsRefused() =>
        Should.Throw<InvalidDataException>(() => FrameHeader.Read(new ReadOnlySequence<byte>(new byte[39]))).Message.ShouldContain("39 bytes");

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(5)]
    [InlineData(16)]
    public void Sum_OverSegmentsThatCutElements_IsTheSum(int segmentBytes)
    {
        var target = Enumerable.Range(0, 50).Select(i => (float)i).ToArray();
        var source = Enumerable.Range(0, 50).Select(i => i * 1000f).ToArray();
        var bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(source).ToArray();
        Reduction.Add(
            FrameKind.SumOfFloats, System.Runtime.InteropServices.MemoryMarshal.AsBytes(target.AsSpan()), Segments.Of([.. bytes.Chunk(segmentBytes)]));
        target.ShouldBe(Enumerable.Range(0, 50).Select(i => i * 1001f));
    }

    private static ReadOnlySequence<byte> Message()
    {
        var bytes = new byte[FrameHeader.Bytes + 4];
        Header.Write(bytes);
        return new ReadOnlySequence<byte>(bytes);
    }

    private sealed class Segments : ReadOnlySequenceSegment<byte>
    {
        public static ReadOnlySequence<byte> Of(params byte[][] parts)
        {
            var first = new Segments { Memory = parts[0] };
            var last = first;
            foreach (var part in parts.Skip(1))
            {
                var next = new Segments { Memory = part, RunningIndex = last.RunningIndex + last.Memory.Length };
                last.Next = next;
                last = next;
            }

            return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
        }
    }
}

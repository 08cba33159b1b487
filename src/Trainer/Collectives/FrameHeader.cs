using System.Buffers;
using System.Buffers.Binary;

namespace DarkMatter.Trainer.Collectives;

/// <summary>What a frame is about. Ranks of different versions never meet (see <see cref="FrameHeader"/>), but the values stay.</summary>
internal enum FrameKind : byte
{
    SumOfFloats = 1,
    SumOfDoubles = 2,
    Gather = 3,
    Broadcast = 4,
    Barrier = 5,

    /// <summary>The sender aborts the generation; Index is the failed rank or −1, the payload the reason in UTF-8.</summary>
    Abort = 8,

    /// <summary>The sender leaves in good order: nothing follows.</summary>
    Leave = 9,

    /// <summary>Rank Index makes progress with something that others wait for in a call: their deadlines begin anew.</summary>
    Working = 10,
}

/// <summary>
/// The first 40 bytes of each message between peers, little endian:
/// magic <c>DM</c> (2), version (1), kind (1), index (4), generation (8), sequence (8), total (8), length (4), zero (4).
/// </summary>
/// <param name="Kind">Which call the frame belongs to.</param>
/// <param name="Generation">The membership; any other is rejected.</param>
/// <param name="Sequence">The number of the call among those of its stream.</param>
/// <param name="Index">The number of the frame among those of its call and stream.</param>
/// <param name="Total">Bytes of the whole call, equal on every rank.</param>
/// <param name="Length">Bytes of payload that follow.</param>
internal readonly record struct FrameHeader(FrameKind Kind, long Generation, long Sequence, int Index, long Total, int Length)
{
    public const int Bytes = 40;
    private const ushort Magic = 0x4D44;
    private const byte Version = 1;

    public void Write(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(target, Magic);
        target[2] = Version;
        target[3] = (byte)Kind;
        BinaryPrimitives.WriteInt32LittleEndian(target[4..], Index);
        BinaryPrimitives.WriteInt64LittleEndian(target[8..], Generation);
        BinaryPrimitives.WriteInt64LittleEndian(target[16..], Sequence);
        BinaryPrimitives.WriteInt64LittleEndian(target[24..], Total);
        BinaryPrimitives.WriteInt32LittleEndian(target[32..], Length);
        BinaryPrimitives.WriteInt32LittleEndian(target[36..], 0);
    }

    /// <exception cref="InvalidDataException">The message is no frame of this version.</exception>
    public static FrameHeader Read(in ReadOnlySequence<byte> message)
    {
        if (message.Length < Bytes)
        {
            throw new InvalidDataException($"A peer's message has {message.Length} bytes; a frame has at least {Bytes}.");
        }

        Span<byte> bytes = stackalloc byte[Bytes];
        message.Slice(0, Bytes).CopyTo(bytes);
        if (BinaryPrimitives.ReadUInt16LittleEndian(bytes) != Magic || bytes[2] != Version)
        {
            throw new InvalidDataException(
                $"A peer's frame starts with {Convert.ToHexString(bytes[..3])}, not with 444D01: it runs another version of the program.");
        }

        var header = new FrameHeader(
            (FrameKind)bytes[3], BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]), BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]),
            BinaryPrimitives.ReadInt32LittleEndian(bytes[4..]), BinaryPrimitives.ReadInt64LittleEndian(bytes[24..]),
            BinaryPrimitives.ReadInt32LittleEndian(bytes[32..]));
        if (!Enum.IsDefined(header.Kind))
        {
            throw new InvalidDataException($"A peer's frame has the unknown kind {bytes[3]}.");
        }

        return header.Length == message.Length - Bytes
            ? header
            : throw new InvalidDataException($"A peer's frame announces {header.Length} bytes and carries {message.Length - Bytes}.");
    }
}

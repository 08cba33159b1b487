using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace DarkMatter.Data;

/// <summary>One 512-byte header block of a tar (POSIX.1-1988 ustar, with the pax and GNU extensions on reading).</summary>
internal readonly record struct TarHeader(string Name, long Size, char Type)
{
    public const int BlockBytes = 512;

    /// <summary>Sizes above 8 GiB need base-256, which ustar does not have; no member here comes near.</summary>
    private const long MaxWrittenSize = (1L << 33) - 1;

    /// <summary>The bytes a member's content takes in the archive.</summary>
    public static long Padded(long size) => (size + BlockBytes - 1) / BlockBytes * BlockBytes;

    /// <summary>Writes a header that depends on name and size only: no time, no owner.</summary>
    public static void Write(Span<byte> block, ReadOnlySpan<byte> name, ReadOnlySpan<byte> prefix, long size, char type)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(size, MaxWrittenSize);
        block.Clear();
        name.CopyTo(block[..100]);
        Octal(block.Slice(100, 8), 0b110_100_100); // rw-r--r--
        Octal(block.Slice(108, 8), 0);
        Octal(block.Slice(116, 8), 0);
        Octal(block.Slice(124, 12), size);
        Octal(block.Slice(136, 12), 0);
        block[156] = (byte)type;
        "ustar\000"u8.CopyTo(block[257..]);
        prefix.CopyTo(block.Slice(345, 155));
        block.Slice(148, 8).Fill((byte)' ');
        Octal(block.Slice(148, 7), Sum(block));
    }

    /// <summary>Reads a header; null with the reason when the block is none.</summary>
    public static TarHeader? Parse(ReadOnlySpan<byte> block, out string problem)
    {
        problem = "";
        if (Number(block.Slice(148, 8)) is not { } checksum)
        {
            problem = "its checksum field is no number";
            return null;
        }

        var copy = block.ToArray();
        copy.AsSpan(148, 8).Fill((byte)' ');
        if (Sum(copy) != checksum)
        {
            problem = string.Create(CultureInfo.InvariantCulture, $"its checksum is {Sum(copy)}, the header says {checksum}");
            return null;
        }

        if (Number(block.Slice(124, 12)) is not { } size || size < 0)
        {
            problem = "its size field is no number";
            return null;
        }

        var name = Text(block[..100]);
        // Old GNU headers ("ustar  ") use the prefix's place for times.
        if (block.Slice(257, 6).SequenceEqual("ustar\0"u8) && Text(block.Slice(345, 155)) is { Length: > 0 } prefix)
            name = $"{prefix}/{name}";
        return new TarHeader(name, size, block[156] == 0 ? '0' : (char)block[156]);
    }

    public static bool IsZero(ReadOnlySpan<byte> block) => !block.ContainsAnyExcept((byte)0);

    public static string Text(ReadOnlySpan<byte> field)
    {
        var end = field.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? field : field[..end]);
    }

    private static void Octal(Span<byte> field, long value)
    {
        for (var i = field.Length - 2; i >= 0; i--, value >>= 3)
            field[i] = (byte)('0' + (value & 7));
        field[^1] = 0;
    }

    private static int Sum(ReadOnlySpan<byte> block)
    {
        var sum = 0;
        foreach (var b in block)
            sum += b;
        return sum;
    }

    private static long? Number(ReadOnlySpan<byte> field)
    {
        if ((field[0] & 0x80) != 0)
        {
            // GNU base-256: the last 8 bytes, big-endian; the ones before must be empty.
            var high = field[1..^8];
            return field[0] == 0x80 && !high.ContainsAnyExcept((byte)0) ? BinaryPrimitives.ReadInt64BigEndian(field[^8..]) : null;
        }

        var text = field.Trim(" \0"u8);
        var value = 0L;
        foreach (var digit in text)
        {
            if (digit is < (byte)'0' or > (byte)'7' || value > long.MaxValue >> 3)
                return null;
            value = value << 3 | (long)(digit - '0');
        }

        return value;
    }
}

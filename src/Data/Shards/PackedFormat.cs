using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace DarkMatter.Data;

/// <summary>Writes the small binary files of a dataset: LEB128 numbers, front-coded names, a SHA-256 at the end.</summary>
internal sealed class PackedWriter
{
    private readonly ArrayBufferWriter<byte> _file = new();

    public void Bytes(ReadOnlySpan<byte> bytes) => _file.Write(bytes);

    public void Number(long value)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(value);
        Span<byte> bytes = stackalloc byte[9];
        var count = 0;
        for (; value >= 0x80; value >>= 7)
            bytes[count++] = (byte)(value | 0x80);
        bytes[count++] = (byte)value;
        _file.Write(bytes[..count]);
    }

    public void Fixed64(ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        _file.Write(bytes);
    }

    /// <summary>A name as the number of characters it shares with the one before, and the rest.</summary>
    public void FrontCoded(string name, string previous)
    {
        var shared = name.AsSpan().CommonPrefixLength(previous);
        // A surrogate pair must not be torn apart: its halves have no UTF-8.
        if (shared > 0 && char.IsHighSurrogate(name[shared - 1]))
            shared--;
        var rest = Encoding.UTF8.GetBytes(name[shared..]);
        Number(shared);
        Number(rest.Length);
        Bytes(rest);
    }

    /// <summary>The file: everything written, and its SHA-256.</summary>
    public byte[] Seal()
    {
        _file.Write(SHA256.HashData(_file.WrittenSpan));
        return _file.WrittenSpan.ToArray();
    }
}

/// <summary>Reads what <see cref="PackedWriter"/> wrote; every damage is a <see cref="DatasetException"/>.</summary>
internal ref struct PackedReader
{
    private const int MaxNameBytes = 4096;

    private readonly ReadOnlySpan<byte> _body;
    private readonly string _kind;
    private readonly string _where;
    private readonly string _remedy;
    private int _at;

    private PackedReader(ReadOnlySpan<byte> body, int start, string kind, string where, string remedy)
    {
        _body = body;
        _at = start;
        _kind = kind;
        _where = where;
        _remedy = remedy;
    }

    public readonly int Remaining => _body.Length - _at;

    /// <summary>Checks magic, version and digest.</summary>
    public static PackedReader Open(ReadOnlySpan<byte> file, ReadOnlySpan<byte> magic, string kind, string where, string remedy)
    {
        var name = magic[..^1];
        if (file.Length < magic.Length || !file.StartsWith(name))
            throw new DatasetException($"this is not a DarkMatter {kind} (it does not begin with \"{Encoding.ASCII.GetString(name)}\")", where, remedy);
        if (file[magic.Length - 1] != magic[^1])
        {
            throw new DatasetException(
                $"the {kind} has format version {file[magic.Length - 1]}, and this program reads version {magic[^1]}", where,
                "Use the program version that packed it, or pack the dataset again.");
        }

        if (file.Length < magic.Length + SHA256.HashSizeInBytes)
            throw new DatasetException($"the {kind} is cut off after {file.Length} bytes", where, remedy);
        var body = file[..^SHA256.HashSizeInBytes];
        if (!SHA256.HashData(body).AsSpan().SequenceEqual(file[^SHA256.HashSizeInBytes..]))
            throw new DatasetException($"the {kind} is damaged: its content does not match its SHA-256", where, remedy);
        return new PackedReader(body, magic.Length, kind, where, remedy);
    }

    public long Number(long most, string what)
    {
        ulong value = 0;
        for (var shift = 0; shift < 63; shift += 7)
        {
            var b = Bytes(1, what)[0];
            value |= (ulong)(b & 0x7F) << shift;
            if (b < 0x80)
                return value <= (ulong)most ? (long)value : throw Damaged($"{what} is {value}, more than {most}");
        }

        throw Damaged($"{what} is no number");
    }

    public ulong Fixed64() => BinaryPrimitives.ReadUInt64LittleEndian(Bytes(8, "digest"));

    public ReadOnlySpan<byte> Bytes(int count, string what)
    {
        if (count > Remaining)
            throw Damaged($"it ends inside {what}");
        var bytes = _body.Slice(_at, count);
        _at += count;
        return bytes;
    }

    public string FrontCoded(string previous)
    {
        var shared = (int)Number(previous.Length, "shared prefix");
        var rest = Bytes((int)Number(MaxNameBytes, "name length"), "name");
        return string.Concat(previous.AsSpan(0, shared), Encoding.UTF8.GetString(rest));
    }

    public readonly void End()
    {
        if (Remaining != 0)
            throw Damaged($"{Remaining} bytes follow its end");
    }

    public readonly DatasetException Damaged(string how) => new($"the {_kind} is damaged: {how}", _where, _remedy);
}

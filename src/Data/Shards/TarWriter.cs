using System.Globalization;
using System.Text;

namespace DarkMatter.Data;

/// <summary>Writes a ustar archive whose bytes depend on its members only; names that do not fit get a pax header.</summary>
internal sealed class TarWriter(Stream stream)
{
    private static readonly byte[] Zeros = new byte[TarHeader.BlockBytes * 2];

    private readonly byte[] _block = new byte[TarHeader.BlockBytes];

    /// <summary>Bytes written so far.</summary>
    public long Length { get; private set; }

    /// <summary>Adds a member and returns the offset of its content.</summary>
    public long Add(string name, ReadOnlySpan<byte> content)
    {
        var bytes = Encoding.UTF8.GetBytes(name);
        if (!Ascii.IsValid(bytes) || !TrySplit(bytes, out var split))
        {
            var record = PaxRecord("path", name);
            AddBlockAndContent("PaxHeaders/member"u8, default, record, 'x');
            bytes = Encoding.ASCII.GetBytes("member-with-pax-name");
            split = 0;
        }

        var prefix = split > 0 ? bytes.AsSpan(0, split) : default;
        return AddBlockAndContent(split > 0 ? bytes.AsSpan(split + 1) : bytes, prefix, content, '0');
    }

    /// <summary>Writes the two zero blocks that end an archive.</summary>
    public void Finish() => Write(Zeros);

    private long AddBlockAndContent(ReadOnlySpan<byte> name, ReadOnlySpan<byte> prefix, ReadOnlySpan<byte> content, char type)
    {
        TarHeader.Write(_block, name, prefix, content.Length, type);
        Write(_block);
        var offset = Length;
        Write(content);
        Write(Zeros.AsSpan(0, (int)(TarHeader.Padded(content.Length) - content.Length)));
        return offset;
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        stream.Write(bytes);
        Length += bytes.Length;
    }

    /// <summary>Where a name divides into prefix (at most 155 bytes) and name (at most 100); 0 when it needs no prefix.</summary>
    private static bool TrySplit(ReadOnlySpan<byte> name, out int split)
    {
        split = 0;
        if (name.Length <= 100)
            return true;
        for (var i = name.Length - 101; i < name.Length - 1 && i <= 155; i++)
        {
            if (i > 0 && name[i] == '/')
            {
                split = i;
                return true;
            }
        }

        return false;
    }

    /// <summary>"length key=value\n", where length counts itself.</summary>
    private static byte[] PaxRecord(string key, string value)
    {
        var rest = Encoding.UTF8.GetByteCount($" {key}={value}\n");
        var length = rest + 1;
        while (length != rest + length.ToString(CultureInfo.InvariantCulture).Length)
            length = rest + length.ToString(CultureInfo.InvariantCulture).Length;
        return Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{length} {key}={value}\n"));
    }
}

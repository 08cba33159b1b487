using System.Globalization;
using System.Text;

namespace DarkMatter.Data;

/// <summary>One regular file of a tar.</summary>
internal readonly record struct TarMember(string Name, long Offset, long Size);

/// <summary>Walks the headers of a tar by range reads; contents are stepped over. Understands ustar, pax, GNU long names and base-256 sizes.</summary>
internal sealed class TarReader(IBlobStore store, string blob, long length)
{
    private const int WindowBytes = 256 << 10;
    private const long MaxExtensionBytes = 1 << 20;

    private readonly byte[] _window = new byte[WindowBytes];
    private long _windowStart;
    private int _windowLength;
    private long _at;
    private string? _globalPath;

    private string Where => Path.Combine(store.Location, blob);

    /// <summary>The next regular file, or null at the end of the archive.</summary>
    /// <exception cref="DatasetException">The archive is cut off or damaged.</exception>
    public async ValueTask<TarMember?> NextAsync(CancellationToken cancellation)
    {
        string? name = null;
        long? size = null;
        while (true)
        {
            var offset = _at;
            var block = await BlockAsync(cancellation);
            if (TarHeader.IsZero(block.Span))
                return null; // one zero block is enough; GNU tar only warns about a lone one
            if (TarHeader.Parse(block.Span, out var problem) is not { } header)
                throw Damaged(offset, offset == 0 ? $"this is not a tar: {problem}" : $"the block at byte {offset} is no tar header: {problem}");

            var content = _at;
            var contentSize = header.Type is '0' or '7' ? size ?? header.Size : header.Size;
            if (contentSize > length - content)
            {
                throw Damaged(offset,
                    $"the tar is cut off: member '{name ?? header.Name}' has {contentSize} bytes from byte {content} on, but the file ends at byte {length}");
            }

            _at = content + TarHeader.Padded(contentSize);
            switch (header.Type)
            {
                case '0' or '7':
                    return new TarMember(name ?? _globalPath ?? header.Name, content, contentSize);
                case 'L': // GNU long name of the next member
                    name = TarHeader.Text((await ExtensionAsync(content, contentSize, cancellation)).Span);
                    break;
                case 'x' or 'g':
                    var records = ParsePax((await ExtensionAsync(content, contentSize, cancellation)).Span, offset);
                    if (header.Type == 'g')
                        _globalPath = records.Path ?? _globalPath;
                    else
                        (name, size) = (records.Path ?? name, records.Size ?? size);
                    break;
                case 'K': // GNU long link target, of no interest
                    break;
                default: // folders, links, devices
                    (name, size) = (null, null);
                    break;
            }
        }
    }

    private async ValueTask<ReadOnlyMemory<byte>> BlockAsync(CancellationToken cancellation)
    {
        if (_at + TarHeader.BlockBytes > length)
        {
            throw new DatasetException(
                length == 0 ? "the tar is empty (0 bytes)" : $"the tar is cut off: it ends at byte {length} without the end-of-archive block", Where,
                "Copy or download it again, or leave it out.");
        }

        if (_at < _windowStart || _at + TarHeader.BlockBytes > _windowStart + _windowLength)
        {
            _windowStart = _at;
            _windowLength = await store.ReadAsync(blob, _at, _window, cancellation);
            if (_windowLength < TarHeader.BlockBytes)
                throw Damaged(_at, $"the file shrank while it was read (it had {length} bytes)");
        }

        var block = _window.AsMemory((int)(_at - _windowStart), TarHeader.BlockBytes);
        _at += TarHeader.BlockBytes;
        return block;
    }

    private async ValueTask<ReadOnlyMemory<byte>> ExtensionAsync(long offset, long size, CancellationToken cancellation)
    {
        if (size > MaxExtensionBytes)
            throw Damaged(offset, $"the header extension at byte {offset} claims {size} bytes, more than {MaxExtensionBytes}");
        var bytes = new byte[size];
        if (await store.ReadAsync(blob, offset, bytes, cancellation) < size)
            throw Damaged(offset, $"the file shrank while it was read (it had {length} bytes)");
        return bytes;
    }

    private (string? Path, long? Size) ParsePax(ReadOnlySpan<byte> records, long offset)
    {
        string? path = null;
        long? size = null;
        while (records.Length > 0 && records[0] != 0)
        {
            var space = records.IndexOf((byte)' ');
            if (space <= 0 || !int.TryParse(records[..space], NumberStyles.None, CultureInfo.InvariantCulture, out var recordLength)
                || recordLength <= space + 1 || recordLength > records.Length || records[recordLength - 1] != '\n')
            {
                throw Damaged(offset, $"the pax header at byte {offset} is malformed");
            }

            var record = records[(space + 1)..(recordLength - 1)];
            var equals = record.IndexOf((byte)'=');
            var value = record[(equals + 1)..];
            if (equals == 4 && record[..4].SequenceEqual("path"u8))
                path = Encoding.UTF8.GetString(value);
            else if (equals == 4 && record[..4].SequenceEqual("size"u8))
            {
                size = long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var parsed)
                    ? parsed
                    : throw Damaged(offset, $"the pax header at byte {offset} has a size that is no number");
            }

            records = records[recordLength..];
        }

        return (path, size);
    }

    private DatasetException Damaged(long offset, string what) =>
        new(what, Where, offset == 0 ? "Give WebDataset tars, uncompressed." : "Copy or download it again, or leave it out.");
}

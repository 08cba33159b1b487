using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;

namespace DarkMatter.Data;

/// <summary>An IDX pair: images as uint8 [N, H, W], labels as uint8 [N], plain or gzipped. Held in memory whole.</summary>
internal sealed class IdxInput : IPackInput
{
    private readonly byte[] _images;
    private readonly byte[]? _labels;
    private readonly int _count;
    private readonly int _height;
    private readonly int _width;
    private readonly int _imageBytes;

    public IdxInput(PackSource.Idx source)
    {
        (_images, var shape) = ReadFile(source.Images, 3, "images");
        (_count, _height, _width) = (shape[0], shape[1], shape[2]);
        _imageBytes = _height * _width;
        if (_count == 0 || _imageBytes == 0)
            throw new DatasetException($"the file holds {_count} images of {_height} x {_width} pixels", source.Images, "Give a file with images.");
        if (source.Labels is null)
            return;
        (_labels, shape) = ReadFile(source.Labels, 1, "labels");
        if (shape[0] != _count)
        {
            throw new DatasetException(
                $"{shape[0]} labels do not fit the {_count} images of {source.Images}", source.Labels,
                "Give the image and the label file of the same set.");
        }
    }

    public long Count => _count;

    public IReadOnlyList<string> Classes => [];

    public string Name(long sample) => $"image {sample}";

    public long SizeHint(long sample) => 0;

    public byte[] Digest()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"idx {_count} {_height} {_width} labels={_labels is not null}\n")));
        hash.AppendData(_images);
        hash.AppendData(_labels ?? []);
        return hash.GetHashAndReset();
    }

    public PackSample Read(long sample, PackTools tools, CancellationToken cancellation)
    {
        var png = tools.Codec.EncodePng(_images.AsSpan((int)sample * _imageBytes, _imageBytes), _width, _height, 1);
        var content = tools.File.Take(png.Length);
        png.CopyTo(content.Span);
        tools.Members.Clear();
        tools.Members.Add(new PackMember("png", content));
        if (_labels is not null)
            tools.Members.Add(new PackMember("cls", Encoding.ASCII.GetBytes(_labels[sample].ToString(CultureInfo.InvariantCulture))));
        return new PackSample(sample.ToString("D8", CultureInfo.InvariantCulture), tools.Members);
    }

    public void Dispose()
    {
    }

    /// <summary>Reads a file of uint8 with so many dimensions.</summary>
    private static (byte[] Data, int[] Shape) ReadFile(string path, int dimensions, string what)
    {
        if (!File.Exists(path))
            throw new DatasetException($"the IDX file of {what} is missing", path, DatasetFolder.WhereToGet(path));
        try
        {
            using var file = File.OpenRead(path);
            var zipped = file.ReadByte() == 0x1F && file.ReadByte() == 0x8B;
            file.Position = 0;
            using var stream = zipped ? new GZipStream(file, CompressionMode.Decompress) : (Stream)file;

            var header = new byte[4 + 4 * dimensions];
            var read = stream.ReadAtLeast(header, header.Length, throwOnEndOfStream: false);
            CheckMagic(header.AsSpan(0, Math.Min(read, 4)), path, dimensions, what);
            if (read < header.Length)
                throw CutOff(path, $"its header ends after {read} of {header.Length} bytes");

            var shape = new int[dimensions];
            var size = 1L;
            for (var i = 0; i < dimensions; i++)
            {
                shape[i] = BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(4 + 4 * i));
                // At most 2 GiB, also on the way: no product below overflows.
                size = shape[i] < 0 || size > Array.MaxLength ? long.MaxValue : size * shape[i];
            }

            if (size > Array.MaxLength)
            {
                throw new DatasetException($"its header claims the shape [{string.Join(", ", shape)}], more than 2 GiB", path,
                    "Check that the file is IDX; larger sets are packed from a folder or from tars.");
            }

            var data = new byte[size];
            read = stream.ReadAtLeast(data, data.Length, throwOnEndOfStream: false);
            return read == data.Length ? (data, shape)
                : throw CutOff(path, $"[{string.Join(", ", shape)}] are {size} bytes, but the file holds {read}");
        }
        catch (InvalidDataException error)
        {
            throw new DatasetException($"the gzip data is damaged ({error.Message})", path, "Copy or download the file again.", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new DatasetException($"the file cannot be read ({error.Message})", path, "Check its permissions and the disk.", error);
        }
    }

    private static void CheckMagic(ReadOnlySpan<byte> magic, string path, int dimensions, string what)
    {
        byte[] expected = [0, 0, 8, (byte)dimensions];
        if (magic.SequenceEqual(expected))
            return;
        var found = magic.Length == 0 ? "is empty" : $"begins with {Convert.ToHexString(magic)}";
        var hint = magic.Length == 4 && magic[..3].SequenceEqual(expected.AsSpan(0, 3))
            ? $"It is an IDX file with {magic[3]} dimensions; {what} have {dimensions}. Are images and labels exchanged?"
            : $"Give the IDX file of {what}, plain or gzipped.";
        throw new DatasetException($"this is no IDX file of {what}: it {found}, expected {Convert.ToHexString(expected)}", path, hint);
    }

    private static DatasetException CutOff(string path, string how) => new($"the IDX file is cut off: {how}", path, "Copy or download the file again.");
}

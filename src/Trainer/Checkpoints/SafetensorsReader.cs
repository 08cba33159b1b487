using System.Buffers.Binary;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>
/// Reads a safetensors file: the header is checked whole before any tensor is believed, then each tensor is read straight into the
/// caller's memory. Source: the safetensors README, "Format"; where it is silent the Rust reader's <c>Metadata::validate</c> decides.
/// </summary>
public sealed class SafetensorsReader : IDisposable
{
    /// <summary>The longest header the format allows, in bytes.</summary>
    public const long MaxHeaderBytes = 100_000_000;

    private readonly SafeFileHandle _file;
    private readonly string _path;
    private readonly Dictionary<string, SafetensorsEntry> _byName = new(StringComparer.Ordinal);

    private SafetensorsReader(SafeFileHandle file, string path)
    {
        _file = file;
        _path = path;
        var length = RandomAccess.GetLength(file);
        var header = ReadHeader(length, out var dataStart);
        (Tensors, Metadata) = ParseHeader(header, dataStart);
        CheckOffsets(length, dataStart);
    }

    /// <summary>The tensors in the order they lie in the file.</summary>
    public IReadOnlyList<SafetensorsEntry> Tensors { get; private set; }

    /// <summary>The header's free text, <c>__metadata__</c>.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and checks its header.</summary>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="SafetensorsException">The file breaks a rule of the format; <see cref="SafetensorsException.Error"/> says which.</exception>
    public static SafetensorsReader Open(string path)
    {
        var file = File.OpenHandle(path, options: FileOptions.SequentialScan);
        try
        {
            return new SafetensorsReader(file, path);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The entry of a name.</summary>
    /// <exception cref="SafetensorsException"><see cref="SafetensorsError.TensorNotFound"/>.</exception>
    public SafetensorsEntry this[string name] => _byName.TryGetValue(name, out var entry)
        ? entry
        : throw Bad(SafetensorsError.TensorNotFound, $"there is no tensor '{name}' among its {_byName.Count}");

    /// <summary>Whether a tensor of this name is there.</summary>
    public bool Contains(string name) => _byName.ContainsKey(name);

    /// <summary>Reads a tensor's bytes straight into <paramref name="destination"/>, which has exactly its length.</summary>
    /// <exception cref="SafetensorsException">Wrong destination, no such tensor, or the file became shorter.</exception>
    public void Read(string name, Span<byte> destination)
    {
        var entry = this[name];
        if (destination.Length != entry.Bytes)
            throw Bad(SafetensorsError.WrongDestination, $"tensor '{name}' has {entry.Bytes} bytes and was to be read into {destination.Length}");
        var offset = entry.Offset;
        while (destination.Length > 0)
        {
            var read = RandomAccess.Read(_file, destination, offset);
            if (read == 0)
                throw Bad(SafetensorsError.Truncated, $"the file ended at byte {offset}, inside tensor '{name}'; copy it again");
            destination = destination[read..];
            offset += read;
        }
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => _file.Dispose();

    private byte[] ReadHeader(long length, out long dataStart)
    {
        Span<byte> prefix = stackalloc byte[8];
        if (length < 8 || RandomAccess.Read(_file, prefix, 0) < 8)
            throw Bad(SafetensorsError.HeaderTooSmall, $"it has {length} bytes, but 8 give the header's length; it is no safetensors file, or empty");
        var claimed = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (claimed > MaxHeaderBytes)
            throw Bad(SafetensorsError.HeaderTooLarge, $"its header claims {claimed} bytes, more than the {MaxHeaderBytes} allowed; it is no safetensors file");
        dataStart = 8 + (long)claimed;
        if (dataStart > length)
            throw Bad(SafetensorsError.HeaderTruncated, $"its header ends at byte {dataStart} and the file at {length}; copy it again");
        var header = new byte[claimed];
        var done = 0;
        while (done < header.Length)
        {
            var read = RandomAccess.Read(_file, header.AsSpan(done), 8 + done);
            if (read == 0)
                throw Bad(SafetensorsError.HeaderTruncated, $"the file ended at byte {8 + done}, inside its header; copy it again");
            done += read;
        }

        if (header.Length == 0 || header[0] != (byte)'{')
            throw Bad(SafetensorsError.InvalidHeaderStart, "its header does not begin with '{'; it is no safetensors file");
        return header;
    }

    private (List<SafetensorsEntry> Tensors, Dictionary<string, string> Metadata) ParseHeader(byte[] header, long dataStart)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(header, new JsonDocumentOptions { MaxDepth = 4 });
        }
        catch (JsonException e)
        {
            throw Bad(SafetensorsError.InvalidHeader, $"its header is not JSON: {e.Message}", e);
        }

        using (document)
        {
            var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
            var seen = new HashSet<string>(StringComparer.Ordinal);
            try
            {
                foreach (var property in document.RootElement.EnumerateObject())
                {
                    if (!seen.Add(property.Name))
                        throw Bad(SafetensorsError.DuplicateName, $"the name '{property.Name}' stands in its header twice");
                    if (property.Name == "__metadata__")
                        ParseMetadata(property.Value, metadata);
                    else
                        _byName.Add(property.Name, ParseEntry(property.Name, property.Value, dataStart));
                }
            }
            catch (InvalidOperationException e)
            {
                // A string that is not valid UTF-8 is only found when it is read.
                throw Bad(SafetensorsError.InvalidHeader, $"its header is not valid text: {e.Message}", e);
            }

            return ([.. _byName.Values.OrderBy(e => e.Offset).ThenBy(e => e.Bytes)], metadata);
        }
    }

    private void ParseMetadata(JsonElement value, Dictionary<string, string> metadata)
    {
        if (value.ValueKind != JsonValueKind.Object)
            throw Bad(SafetensorsError.InvalidHeader, "__metadata__ is not an object");
        foreach (var item in value.EnumerateObject())
        {
            if (item.Value.ValueKind != JsonValueKind.String)
                throw Bad(SafetensorsError.InvalidHeader, $"__metadata__ '{item.Name}' is not a string");
            if (!metadata.TryAdd(item.Name, item.Value.GetString()!))
                throw Bad(SafetensorsError.DuplicateName, $"__metadata__ '{item.Name}' stands there twice");
        }
    }

    private SafetensorsEntry ParseEntry(string name, JsonElement value, long dataStart)
    {
        if (value.ValueKind != JsonValueKind.Object
            || value.EnumerateObject().Count() != 3
            || !value.TryGetProperty("dtype", out var dtype) || dtype.ValueKind != JsonValueKind.String
            || !value.TryGetProperty("shape", out var shape) || shape.ValueKind != JsonValueKind.Array
            || !value.TryGetProperty("data_offsets", out var offsets) || offsets.ValueKind != JsonValueKind.Array || offsets.GetArrayLength() != 2)
            throw Bad(SafetensorsError.InvalidHeader, $"tensor '{name}' does not have exactly dtype, shape and two data_offsets");
        if (!SafetensorsTypes.TryParse(dtype.GetString()!, out var type))
            throw Bad(SafetensorsError.UnknownType, $"tensor '{name}' has the unknown type '{dtype.GetString()}'");

        var dimensions = new List<long>(shape.GetArrayLength());
        long bytes = type.ElementBytes();
        foreach (var dimension in shape.EnumerateArray())
        {
            if (!TryInteger(dimension, out var size))
                throw Bad(SafetensorsError.InvalidShape, $"tensor '{name}' has a dimension that is no integer from 0 on: {dimension.GetRawText()}");
            dimensions.Add(size);
            if (size != 0 && bytes > long.MaxValue / size)
                throw Bad(SafetensorsError.InvalidShape, $"tensor '{name}' of shape [{string.Join(", ", dimensions)}, …] has more than 2^63 bytes");
            bytes *= size;
        }

        if (!TryInteger(offsets[0], out var begin) || !TryInteger(offsets[1], out var end) || end < begin || end > long.MaxValue - dataStart)
            throw Bad(SafetensorsError.InvalidOffsets, $"tensor '{name}' has the offsets {offsets.GetRawText()}, but they are two integers in rising order");
        if (end - begin != bytes)
            throw Bad(SafetensorsError.SizeMismatch, $"tensor '{name}' of {type.Name()} [{string.Join(", ", dimensions)}] needs {bytes} bytes and its offsets span {end - begin}");
        return new SafetensorsEntry(name, type, dimensions, dataStart + begin, bytes);
    }

    private void CheckOffsets(long length, long dataStart)
    {
        var expected = dataStart;
        foreach (var entry in Tensors)
        {
            if (entry.Offset < expected)
                throw Bad(SafetensorsError.OverlappingOffsets, $"tensor '{entry.Name}' begins at byte {entry.Offset}, inside the one before it, which ends at {expected}");
            if (entry.Offset > expected)
                throw Bad(SafetensorsError.HoleInOffsets, $"{entry.Offset - expected} bytes before tensor '{entry.Name}' belong to no tensor");
            expected = entry.Offset + entry.Bytes;
        }

        if (expected > length)
            throw Bad(SafetensorsError.Truncated, $"its tensors end at byte {expected} and the file at {length}; copy it again");
        if (expected < length)
            throw Bad(SafetensorsError.HoleInOffsets, $"{length - expected} bytes behind its last tensor belong to no tensor");
    }

    private static bool TryInteger(JsonElement element, out long value)
    {
        value = 0;
        return element.ValueKind == JsonValueKind.Number && element.TryGetInt64(out value) && value >= 0;
    }

    private SafetensorsException Bad(SafetensorsError error, string what, Exception? inner = null) =>
        new(error, $"safetensors file '{_path}': {what}", inner);
}

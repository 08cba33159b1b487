using System.Buffers;
using System.Buffers.Binary;
using System.Text.Json;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>A tensor to be written.</summary>
/// <param name="Name">Unique in its file.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Dimensions, row-major.</param>
/// <param name="Data">Exactly the bytes that type and shape need, little-endian.</param>
public sealed record SafetensorsItem(string Name, SafetensorsType Type, IReadOnlyList<long> Shape, ReadOnlyMemory<byte> Data);

/// <summary>Writes safetensors files: sorted by element size, then name, as the reference implementation does, so that all are aligned.</summary>
public static class SafetensorsWriter
{
    /// <summary>The bytes of a file, without copying what the items hold.</summary>
    /// <exception cref="ArgumentException">Two items share a name, or an item's data does not fit its type and shape.</exception>
    public static ReadOnlySequence<byte> Layout(IEnumerable<SafetensorsItem> items, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var sorted = items.OrderByDescending(i => i.Type.ElementBytes()).ThenBy(i => i.Name, StringComparer.Ordinal).ToList();
        Check(sorted);
        var first = new Segment(Header(sorted, metadata), before: null);
        var last = sorted.Aggregate(first, (before, item) => new Segment(item.Data, before));
        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    /// <summary>Writes a file through to the disk. An existing file is replaced.</summary>
    /// <exception cref="ArgumentException">Two items share a name, or an item's data does not fit its type and shape.</exception>
    /// <exception cref="IOException">The disk is full or fails.</exception>
    public static void Write(string path, IEnumerable<SafetensorsItem> items, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var content = Layout(items, metadata);
        using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        foreach (var segment in content)
            file.Write(segment.Span);
        file.Flush(flushToDisk: true);
    }

    private static void Check(List<SafetensorsItem> items)
    {
        var names = new HashSet<string>(StringComparer.Ordinal) { "__metadata__" };
        foreach (var item in items)
        {
            if (!names.Add(item.Name))
                throw new ArgumentException($"safetensors: the name '{item.Name}' is taken", nameof(items));
            var needed = item.Shape.Aggregate((long)item.Type.ElementBytes(), (bytes, size) => checked(bytes * size));
            if (item.Data.Length != needed)
                throw new ArgumentException($"safetensors: tensor '{item.Name}' of {item.Type.Name()} [{string.Join(", ", item.Shape)}] needs {needed} bytes and has {item.Data.Length}", nameof(items));
        }
    }

    /// <summary>Length prefix and JSON, padded with spaces so that the data begins at a multiple of 8 bytes.</summary>
    private static byte[] Header(List<SafetensorsItem> items, IReadOnlyDictionary<string, string>? metadata)
    {
        using var buffer = new MemoryStream();
        buffer.SetLength(8);
        buffer.Position = 8;
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (metadata is { Count: > 0 })
            {
                json.WriteStartObject("__metadata__");
                foreach (var (key, value) in metadata.OrderBy(m => m.Key, StringComparer.Ordinal))
                    json.WriteString(key, value);
                json.WriteEndObject();
            }

            long offset = 0;
            foreach (var item in items)
            {
                json.WriteStartObject(item.Name);
                json.WriteString("dtype", item.Type.Name());
                json.WriteStartArray("shape");
                foreach (var size in item.Shape)
                    json.WriteNumberValue(size);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(offset += item.Data.Length);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        buffer.Position = buffer.Length;
        while (buffer.Length % 8 != 0)
            buffer.WriteByte((byte)' ');
        var header = buffer.ToArray();
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)(header.Length - 8));
        return header;
    }

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory, Segment? before)
        {
            Memory = memory;
            if (before is null)
                return;
            RunningIndex = before.RunningIndex + before.Memory.Length;
            before.Next = this;
        }
    }
}

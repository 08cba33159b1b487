using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>Named tensors that live as long as training does, and the way between them and safetensors files.</summary>
public sealed class TensorSet
{
    private readonly byte[][] _copies;

    /// <summary>Remembers tensors; it does not own them.</summary>
    /// <param name="tensors">Names, unique, and the tensors.</param>
    public TensorSet(IEnumerable<(string Name, Tensor Tensor)> tensors)
    {
        Tensors = [.. tensors];
        _copies = new byte[Tensors.Count][];
    }

    /// <summary>The tensors, in a fixed order.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> Tensors { get; }

    /// <summary>The total size, in bytes.</summary>
    public long Bytes => Tensors.Sum(t => t.Tensor.numel() * t.Tensor.ElementSize);

    /// <summary>
    /// Copies all tensors to host memory that is kept for the next time. The items stay valid until the next capture.
    /// </summary>
    public IReadOnlyList<SafetensorsItem> Capture()
    {
        using var _ = no_grad();
        var items = new SafetensorsItem[Tensors.Count];
        for (var i = 0; i < items.Length; i++)
        {
            var (name, tensor) = Tensors[i];
            using var host = tensor.detach().cpu().contiguous();
            var bytes = host.bytes;
            if (_copies[i] is null)
                _copies[i] = GC.AllocateUninitializedArray<byte>(bytes.Length);
            bytes.CopyTo(_copies[i]);
            items[i] = new SafetensorsItem(name, TypeOf(tensor.dtype), tensor.shape, _copies[i]);
        }

        return items;
    }

    /// <summary>Overwrites all tensors from a file that has exactly these names, types and shapes.</summary>
    /// <param name="path">A safetensors file.</param>
    /// <param name="onlyPrefix">Names that do not begin so may be in the file as well. Empty: none may.</param>
    /// <exception cref="CheckpointException">It has others; all differences are named.</exception>
    /// <exception cref="SafetensorsException">The file is damaged.</exception>
    public void Load(string path, string onlyPrefix = "")
    {
        using var reader = SafetensorsReader.Open(path);
        var problems = Differences(reader, onlyPrefix).ToList();
        if (problems.Count > 0)
            throw new CheckpointException($"'{path}' does not fit this model: {string.Join("; ", problems.Take(8))}{(problems.Count > 8 ? $"; and {problems.Count - 8} more" : "")}. Use the recipe it was written with.");
        using var _ = no_grad();
        foreach (var (name, tensor) in Tensors)
        {
            if (tensor.device_type == DeviceType.CPU && tensor.is_contiguous())
            {
                reader.Read(name, tensor.bytes);
                continue;
            }

            using var host = empty(tensor.shape, dtype: tensor.dtype);
            reader.Read(name, host.bytes);
            tensor.copy_(host);
        }
    }

    /// <summary>The safetensors type of a torch type.</summary>
    /// <exception cref="ArgumentException">The format has none.</exception>
    public static SafetensorsType TypeOf(ScalarType type) => type switch
    {
        ScalarType.Byte => SafetensorsType.UInt8,
        ScalarType.Int8 => SafetensorsType.Int8,
        ScalarType.Int16 => SafetensorsType.Int16,
        ScalarType.Int32 => SafetensorsType.Int32,
        ScalarType.Int64 => SafetensorsType.Int64,
        ScalarType.Float16 => SafetensorsType.Float16,
        ScalarType.BFloat16 => SafetensorsType.BFloat16,
        ScalarType.Float32 => SafetensorsType.Float32,
        ScalarType.Float64 => SafetensorsType.Float64,
        ScalarType.Bool => SafetensorsType.Bool,
        _ => throw new ArgumentException($"safetensors has no type for {type}.", nameof(type)),
    };

    private IEnumerable<string> Differences(SafetensorsReader reader, string onlyPrefix)
    {
        foreach (var (name, tensor) in Tensors)
        {
            if (!reader.Contains(name))
            {
                yield return $"'{name}' is missing";
                continue;
            }

            var entry = reader[name];
            if (entry.Type != TypeOf(tensor.dtype) || !entry.Shape.SequenceEqual(tensor.shape))
                yield return $"'{name}' is {entry.Type.Name()} [{string.Join(", ", entry.Shape)}] instead of {TypeOf(tensor.dtype).Name()} [{string.Join(", ", tensor.shape)}]";
        }

        var known = Tensors.Select(t => t.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var extra in reader.Tensors.Where(t => t.Name.StartsWith(onlyPrefix, StringComparison.Ordinal) && !known.Contains(t.Name)))
            yield return $"'{extra.Name}' is unknown";
    }
}

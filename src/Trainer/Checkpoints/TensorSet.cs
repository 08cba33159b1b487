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
    public long Bytes => Tensors.Sum(t => BytesOf(t.Tensor));

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

    /// <summary>
    /// The part of these tensors that a rank writes: they are dealt out by size, the largest first, each to the rank that has the least.
    /// Together the parts are everything, once; all ranks deal alike.
    /// </summary>
    /// <param name="rank">Whose part, from 0.</param>
    /// <param name="world">The number of parts.</param>
    public TensorSet Part(int rank, int world)
    {
        var loads = new long[world];
        var owners = new int[Tensors.Count];
        foreach (var i in Enumerable.Range(0, owners.Length).OrderByDescending(i => BytesOf(Tensors[i].Tensor)).ThenBy(i => Tensors[i].Name, StringComparer.Ordinal))
        {
            owners[i] = Array.IndexOf(loads, loads.Min());
            loads[owners[i]] += BytesOf(Tensors[i].Tensor);
        }

        return new TensorSet(Tensors.Where((_, i) => owners[i] == rank));
    }

    /// <summary>Overwrites all tensors from a file that has exactly these names, types and shapes.</summary>
    /// <param name="path">A safetensors file.</param>
    /// <param name="onlyPrefix">Names that do not begin so may be in the file as well. Empty: none may.</param>
    /// <exception cref="CheckpointException">It has others; all differences are named.</exception>
    /// <exception cref="SafetensorsException">The file is damaged.</exception>
    public void Load(string path, string onlyPrefix = "") => Load([path], onlyPrefix);

    /// <summary>Overwrites all tensors from files that together have exactly these names, types and shapes.</summary>
    /// <param name="paths">Safetensors files, the parts of a checkpoint.</param>
    /// <param name="onlyPrefix">Names that do not begin so may be in the files as well. Empty: none may.</param>
    /// <exception cref="CheckpointException">They have others; all differences are named.</exception>
    /// <exception cref="SafetensorsException">A file is damaged.</exception>
    public void Load(IReadOnlyList<string> paths, string onlyPrefix = "")
    {
        using var parts = SafetensorsParts.Open(paths);
        var problems = Differences(parts, onlyPrefix).ToList();
        if (problems.Count > 0)
            throw new CheckpointException($"'{parts.Name}' does not fit this model: {string.Join("; ", problems.Take(8))}{(problems.Count > 8 ? $"; and {problems.Count - 8} more" : "")}. Use the recipe it was written with.");
        using var _ = no_grad();
        foreach (var (name, tensor) in Tensors)
        {
            if (tensor.device_type == DeviceType.CPU && tensor.is_contiguous())
            {
                parts.Read(name, tensor.bytes);
                continue;
            }

            using var host = empty(tensor.shape, dtype: tensor.dtype);
            parts.Read(name, host.bytes);
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

    private static long BytesOf(Tensor tensor) => tensor.numel() * tensor.ElementSize;

    private IEnumerable<string> Differences(SafetensorsParts parts, string onlyPrefix)
    {
        foreach (var (name, tensor) in Tensors)
        {
            if (parts.Find(name) is not { } entry)
                yield return $"'{name}' is missing";
            else if (entry.Type != TypeOf(tensor.dtype) || !entry.Shape.SequenceEqual(tensor.shape))
                yield return $"'{name}' is {entry.Type.Name()} [{string.Join(", ", entry.Shape)}] instead of {TypeOf(tensor.dtype).Name()} [{string.Join(", ", tensor.shape)}]";
        }

        var known = Tensors.Select(t => t.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var extra in parts.Tensors.Where(t => t.Name.StartsWith(onlyPrefix, StringComparison.Ordinal) && !known.Contains(t.Name)))
            yield return $"'{extra.Name}' is unknown";
    }
}

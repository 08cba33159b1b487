namespace DarkMatter.Trainer.Checkpoints;

/// <summary>Several safetensors files read as one: each tensor is in exactly one of them.</summary>
public sealed class SafetensorsParts : IDisposable
{
    private readonly List<SafetensorsReader> _readers = [];
    private readonly Dictionary<string, SafetensorsReader> _byName = new(StringComparer.Ordinal);

    private SafetensorsParts(string name) => Name = name;

    /// <summary>The first file, for messages.</summary>
    public string Name { get; }

    /// <summary>The tensors of all files.</summary>
    public IEnumerable<SafetensorsEntry> Tensors => _readers.SelectMany(r => r.Tensors);

    /// <summary>Opens the files and checks their headers.</summary>
    /// <exception cref="FileNotFoundException">One is missing.</exception>
    /// <exception cref="SafetensorsException">One is damaged, or two have a tensor of the same name.</exception>
    public static SafetensorsParts Open(IReadOnlyList<string> paths)
    {
        var parts = new SafetensorsParts(paths[0]);
        try
        {
            foreach (var path in paths)
                parts.Add(path);
            return parts;
        }
        catch
        {
            parts.Dispose();
            throw;
        }
    }

    /// <summary>The entry of a name, or null.</summary>
    public SafetensorsEntry? Find(string name) => _byName.TryGetValue(name, out var reader) ? reader[name] : null;

    /// <summary>Reads a tensor's bytes straight into <paramref name="destination"/>, which has exactly its length.</summary>
    /// <exception cref="SafetensorsException">Wrong destination, no such tensor, or the file became shorter.</exception>
    public void Read(string name, Span<byte> destination) => _byName.GetValueOrDefault(name, _readers[0]).Read(name, destination);

    /// <summary>Closes the files.</summary>
    public void Dispose() => _readers.ForEach(r => r.Dispose());

    private void Add(string path)
    {
        var reader = SafetensorsReader.Open(path);
        _readers.Add(reader);
        foreach (var entry in reader.Tensors)
        {
            if (!_byName.TryAdd(entry.Name, reader))
                throw new SafetensorsException(SafetensorsError.DuplicateName, $"safetensors file '{path}': tensor '{entry.Name}' is in another part of the checkpoint too; the parts do not belong together");
        }
    }
}

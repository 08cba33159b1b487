using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace DarkMatter.Data;

/// <summary>The image files below a folder, in ordinal order of their paths.</summary>
internal sealed class FolderInput : IPackInput
{
    private readonly string _root;
    private readonly List<Entry> _files = [];
    private readonly List<string> _classes = [];
    private readonly bool _labelled;

    public FolderInput(PackSource.Folder source)
    {
        _root = Path.GetFullPath(source.Path);
        _labelled = source.LabelsFromFolders;
        if (!Directory.Exists(_root))
        {
            throw File.Exists(_root)
                ? new DatasetException("this is a file, not a folder", _root,
                    "Give the folder that holds the images; tars and IDX files have options of their own.")
                : new DatasetException("there is no such folder", _root, DatasetFolder.WhereToGet(_root));
        }

        var options = new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = false, AttributesToSkip = FileAttributes.None };
        var found = 0L;
        foreach (var file in new DirectoryInfo(_root).EnumerateFiles("*", options))
        {
            found++;
            var path = Path.GetRelativePath(_root, file.FullName).Replace(Path.DirectorySeparatorChar, '/');
            var dot = path.LastIndexOf('.');
            if (dot >= 0 && SampleName.IsImage(path[(dot + 1)..].ToLowerInvariant()) && path[(path.LastIndexOf('/') + 1)..][0] != '.')
                _files.Add(new Entry(path, file.Length));
        }

        if (_files.Count == 0)
        {
            throw new DatasetException(
                found == 0 ? "the folder is empty" : $"none of the folder's {found} files is a .jpg, .jpeg, .png or .webp", _root,
                "Give a folder with images; it is searched with all its subfolders.");
        }

        _files.Sort((left, right) => string.CompareOrdinal(left.Path, right.Path));
        NameKeys();
        if (_labelled)
            NameClasses();
    }

    public long Count => _files.Count;

    public IReadOnlyList<string> Classes => _classes;

    public string Name(long sample) => _files[(int)sample].Path;

    public long SizeHint(long sample) => _files[(int)sample].Bytes;

    public byte[] Digest()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"folder labelled={_labelled}\n"));
        foreach (var file in _files)
            hash.AppendData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{file.Bytes} {file.Path}\n")));
        return hash.GetHashAndReset();
    }

    public PackSample Read(long sample, PackTools tools, CancellationToken cancellation)
    {
        var file = _files[(int)sample];
        ReadOnlyMemory<byte> content;
        try
        {
            using var handle = File.OpenHandle(Path.Combine(_root, file.Path));
            var length = RandomAccess.GetLength(handle);
            if (length > int.MaxValue)
                throw new BrokenImageException($"it has {length} bytes; the most is 2 GiB");
            var into = tools.File.Take((int)length);
            var read = 0;
            for (int count; read < length && (count = RandomAccess.Read(handle, into.Span[read..], read)) > 0; read += count)
            {
            }

            content = into[..read];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new BrokenImageException($"it cannot be read ({error.Message})");
        }

        tools.Members.Clear();
        tools.Members.Add(new PackMember(tools.Check(content.Span), content));
        if (_labelled)
            tools.Members.Add(new PackMember("cls", Encoding.ASCII.GetBytes(file.Class.ToString(CultureInfo.InvariantCulture))));
        return new PackSample(file.Key, tools.Members);
    }

    public void Dispose()
    {
    }

    // a.jpg and a.png, or a.b.jpg and a_b.jpg, would share a key: the later ones get a number.
    private void NameKeys()
    {
        var taken = new HashSet<string>(StringComparer.Ordinal);
        foreach (var file in _files)
        {
            var key = SampleName.KeyForFile(file.Path);
            file.Key = key;
            for (var number = 2; !taken.Add(file.Key); number++)
                file.Key = string.Create(CultureInfo.InvariantCulture, $"{key}-{number}");
        }
    }

    private void NameClasses()
    {
        foreach (var file in _files)
        {
            var slash = file.Path.IndexOf('/');
            if (slash < 0)
            {
                throw new DatasetException($"'{file.Path}' lies in no class folder", _root,
                    "With labels from folders every image is in a folder named after its class; move it, or pack without labels.");
            }

            var name = file.Path[..slash];
            if (_classes.Count == 0 || _classes[^1] != name)
                _classes.Add(name);
        }

        // The paths are in order, but "a-b/" sorts before "a/": number the classes by their own names.
        var names = _classes.Distinct().Order(StringComparer.Ordinal).ToList();
        _classes.Clear();
        _classes.AddRange(names);
        foreach (var file in _files)
            file.Class = names.BinarySearch(file.Path[..file.Path.IndexOf('/')], StringComparer.Ordinal);
    }

    private sealed record Entry(string Path, long Bytes)
    {
        public string Key { get; set; } = "";

        public int Class { get; set; }
    }
}

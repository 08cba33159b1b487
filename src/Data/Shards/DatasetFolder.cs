namespace DarkMatter.Data;

/// <summary>Finds a dataset on disk, and says what is missing when there is none.</summary>
internal static class DatasetFolder
{
    private const string PackIt = "Make one with `darkmatter pack`.";

    public static byte[] ReadCatalog(string path, out string file)
    {
        file = Path.GetFullPath(Directory.Exists(path) ? Path.Combine(path, Catalog.FileName) : path);
        if (File.Exists(file))
            return File.ReadAllBytes(file);

        if (!Directory.Exists(path))
            throw new DatasetException("there is no dataset", Path.GetFullPath(path), $"Check the path. {PackIt}");
        if (!Directory.EnumerateFileSystemEntries(path).Any())
            throw new DatasetException("the folder is empty; a dataset has a catalog and shards", Path.GetFullPath(path), PackIt);
        if (File.Exists(Path.Combine(path, PackJob.JournalName)))
        {
            throw new DatasetException("the dataset is only partly packed", Path.GetFullPath(path),
                "Run the same `darkmatter pack` again: it goes on where it ended.");
        }

        throw new DatasetException($"the folder has no {Catalog.FileName}", Path.GetFullPath(path), $"It is not a packed dataset yet. {PackIt}");
    }

    /// <summary>Where a missing source file comes from, as a sentence, when that is known.</summary>
    public static string WhereToGet(string path)
    {
        const string Datasets = "/usr/share/datasets/";
        if (!path.StartsWith("/usr/share/", StringComparison.Ordinal))
            return "Check the path.";
        var name = path.StartsWith(Datasets, StringComparison.Ordinal) ? path[Datasets.Length..].Split('/')[0] : "";
        return name.Length > 0
            ? $"The Debian package dataset-{name} brings it: apt-get install dataset-{name}"
            : $"A Debian package brings files of /usr/share; `apt-file search {path}` names it.";
    }
}

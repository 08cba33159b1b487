namespace DarkMatter.Trainer.Checkpoints;

/// <summary>A verified checkpoint whose files can be read on this machine until it is disposed.</summary>
public sealed class OpenCheckpoint : IDisposable
{
    private readonly string _folder;
    private readonly bool _copied;

    private OpenCheckpoint(string path, CheckpointManifest manifest, string folder, bool copied) =>
        (Path, Manifest, _folder, _copied) = (path, manifest, folder, copied);

    /// <summary>Where it lies: a folder or a URL.</summary>
    public string Path { get; }

    /// <summary>Its table of contents.</summary>
    public CheckpointManifest Manifest { get; }

    /// <summary>Updates applied.</summary>
    public long Step => Manifest.Progress.Step;

    /// <summary>The files with the networks, in rank order.</summary>
    public IReadOnlyList<string> ModelFiles => [.. Manifest.ModelFiles.Select(Here)];

    /// <summary>The files with the optimizer's memory, in rank order.</summary>
    public IReadOnlyList<string> OptimizerFiles => [.. Manifest.OptimizerFiles.Select(Here)];

    /// <summary>The file with the recipe.</summary>
    public string RecipeFile => Here(Manifest.RecipeFile);

    /// <summary>Deletes the files, if they were copied here.</summary>
    public void Dispose()
    {
        if (_copied && Directory.Exists(_folder))
            Directory.Delete(_folder, recursive: true);
    }

    internal static async Task<OpenCheckpoint> OpenAsync(ICheckpointBlobs blobs, string folder, CancellationToken cancellationToken, Action? progressed = null)
    {
        var path = CheckpointContents.PathOf(blobs, folder);
        if (blobs.LocalRoot is not null)
            return new OpenCheckpoint(path, await CheckpointContents.VerifyAsync(blobs, folder, copyTo: null, cancellationToken, progressed), path, copied: false);
        var copy = Directory.CreateTempSubdirectory("darkmatter-checkpoint-").FullName;
        try
        {
            return new OpenCheckpoint(path, await CheckpointContents.VerifyAsync(blobs, folder, copy, cancellationToken, progressed), copy, copied: true);
        }
        catch
        {
            Directory.Delete(copy, recursive: true);
            throw;
        }
    }

    private string Here(string file) => System.IO.Path.Combine(_folder, file);
}

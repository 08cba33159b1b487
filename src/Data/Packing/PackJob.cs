namespace DarkMatter.Data;

/// <summary>Turns images into a dataset: shards, indexes and a catalog.</summary>
public static class PackJob
{
    internal const string JournalName = "pack.journal";

    /// <summary>Packs; goes on where an interrupted pack of the same source ended, and returns at once when all is packed already.</summary>
    /// <param name="options">What to pack.</param>
    /// <param name="progress">Told after every few samples, from worker threads; null for silence.</param>
    /// <param name="cancellation">Ends the pack; a later one resumes it.</param>
    /// <exception cref="DatasetException">The source is missing, empty or foreign, or the destination holds another dataset.</exception>
    public static Task<PackReport> RunAsync(PackOptions options, IProgress<PackProgress>? progress = null, CancellationToken cancellation = default) =>
        throw new InvalidOperationException($"{options} {progress} {cancellation}");
}

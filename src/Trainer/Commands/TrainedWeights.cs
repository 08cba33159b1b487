using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Recipes;

namespace DarkMatter.Trainer.Commands;

/// <summary>Trained weights, found from what a person points at; readable until disposed.</summary>
internal sealed class TrainedWeights : IDisposable
{
    private readonly OpenCheckpoint? checkpoint;

    private TrainedWeights(string name, IReadOnlyList<string> files, string? recipePath, OpenCheckpoint? checkpoint) =>
        (Name, Files, RecipePath, this.checkpoint) = (name, files, recipePath, checkpoint);

    /// <summary>Where they were found.</summary>
    public string Name { get; }

    /// <summary>The safetensors files; together they are the networks.</summary>
    public IReadOnlyList<string> Files { get; }

    /// <summary>The recipe they were trained by; null when none lies beside them.</summary>
    public string? RecipePath { get; }

    /// <summary>Finds them.</summary>
    /// <param name="path">A checkpoint's folder, a run's folder (its checkpoints may lie in a blob store), or an exported file.</param>
    /// <param name="note">Told of each broken checkpoint of a run that is passed over.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <exception cref="CommandException">There are none.</exception>
    /// <exception cref="CheckpointException">The checkpoint is broken.</exception>
    public static async Task<TrainedWeights> FindAsync(string path, Action<string> note, CancellationToken cancellationToken)
    {
        if (File.Exists(path))
        {
            var beside = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, CheckpointFolder.RecipeName);
            return new TrainedWeights(path, [path], File.Exists(beside) ? beside : null, checkpoint: null);
        }
        if (File.Exists(Path.Combine(path, CheckpointFolder.ManifestName)))
        {
            return Of(CheckpointFolder.Open(path));
        }
        using var store = RunStore.TryOpen(path);
        return store is not null && await store.OpenNewestWholeAsync(note, cancellationToken) is { } newest
            ? Of(newest)
            : throw new CommandException(ExitCode.BadRequest, $"{path}: no trained weights there; give a checkpoint's folder, a run's folder with checkpoints, or an exported .safetensors");
    }

    /// <summary>The recipe given, or else the one they were trained by.</summary>
    /// <exception cref="CommandException">There is neither.</exception>
    public ResolvedRecipe Recipe(string? given, IReadOnlyList<string> sets) => (given ?? RecipePath) is { } path
        ? ResolvedRecipe.Load(path, sets)
        : throw new CommandException(ExitCode.BadRequest, $"{Name}: no recipe lies beside these weights; name the one they were trained by with --recipe");

    /// <summary>Deletes what was copied here to be read.</summary>
    public void Dispose() => checkpoint?.Dispose();

    private static TrainedWeights Of(OpenCheckpoint checkpoint) => new(checkpoint.Path, checkpoint.ModelFiles, checkpoint.RecipeFile, checkpoint);
}

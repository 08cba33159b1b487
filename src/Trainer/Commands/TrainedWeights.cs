using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Recipes;

namespace DarkMatter.Trainer.Commands;

/// <summary>Trained weights on disk, found from what a person points at.</summary>
/// <param name="Path">The safetensors file.</param>
/// <param name="RecipePath">The recipe they were trained by; null when none lies beside them.</param>
internal sealed record TrainedWeights(string Path, string? RecipePath)
{
    /// <summary>Finds them.</summary>
    /// <param name="path">A checkpoint's folder, a run's folder, or an exported file.</param>
    /// <exception cref="CommandException">There are none.</exception>
    /// <exception cref="CheckpointException">The checkpoint is broken.</exception>
    public static TrainedWeights Find(string path)
    {
        if (File.Exists(path))
        {
            var beside = System.IO.Path.Combine(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!, CheckpointFolder.RecipeName);
            return new TrainedWeights(path, File.Exists(beside) ? beside : null);
        }
        var checkpoint = File.Exists(System.IO.Path.Combine(path, CheckpointFolder.ManifestName)) ? path : CheckpointFolder.Latest(path);
        if (checkpoint is null)
        {
            throw new CommandException(ExitCode.BadRequest, $"{path}: no trained weights there; give a checkpoint's folder, a run's folder with checkpoints, or an exported .safetensors");
        }
        CheckpointFolder.Verify(checkpoint);
        return new TrainedWeights(System.IO.Path.Combine(checkpoint, CheckpointFolder.ModelName), System.IO.Path.Combine(checkpoint, CheckpointFolder.RecipeName));
    }

    /// <summary>The recipe given, or else the one they were trained by.</summary>
    /// <exception cref="CommandException">There is neither.</exception>
    public ResolvedRecipe Recipe(string? given, IReadOnlyList<string> sets) => (given ?? RecipePath) is { } path
        ? ResolvedRecipe.Load(path, sets)
        : throw new CommandException(ExitCode.BadRequest, $"{Path}: no recipe lies beside these weights; name the one they were trained by with --recipe");
}

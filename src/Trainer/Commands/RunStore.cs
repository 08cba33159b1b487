using DarkMatter.Protocol;
using DarkMatter.Silo;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Recipes;

namespace DarkMatter.Trainer.Commands;

/// <summary>Finds the checkpoints of a run that a person names.</summary>
internal static class RunStore
{
    /// <summary>The resolved recipe in a run's folder.</summary>
    public const string RecipeName = "recipe.yaml";

    /// <summary>Opens the store of a run, by what its recipe says.</summary>
    /// <param name="run">The run's name or folder.</param>
    /// <param name="root">The folder that has the runs.</param>
    /// <param name="silo">Ask this silo for the recipe; null: it lies in the run's folder.</param>
    /// <exception cref="CommandException">There is no such run.</exception>
    /// <exception cref="CheckpointException">Its recipe does not say how to connect.</exception>
    public static async Task<CheckpointStore> OpenAsync(string run, string root, string? silo)
    {
        var folder = Path.GetFullPath(Directory.Exists(run) ? run : Path.Combine(root, run));
        if (silo is not null)
        {
            var status = await SiloCall.AskAsync(silo, (client, deadline) => client.GetRunAsync(new GetRunRequest { Run = run }, deadline: deadline));
            var recipe = ResolvedRecipe.Parse(status.RecipeYaml, $"the recipe of run '{run}'", folder).Recipe;
            // Where local checkpoints lie is known by where the newest was published.
            var local = status.CheckpointPath.Length > 0 ? Path.GetDirectoryName(Path.GetDirectoryName(status.CheckpointPath)) : null;
            return CheckpointStores.Open(recipe.Checkpoints, run, local ?? folder);
        }
        return TryOpen(folder) ?? throw new CommandException(
            ExitCode.BadRequest,
            Directory.Exists(folder)
                ? $"{folder}: no run lies there; give the folder of a run, or the address of its silo with --silo"
                : $"there is no run in {folder}; 'darkmatter runs list' shows those there are, --folder names where to look, --silo asks a silo");
    }

    /// <summary>Opens the store of the run in a folder; null when no run lies there.</summary>
    /// <exception cref="CheckpointException">Its recipe does not say how to connect.</exception>
    public static CheckpointStore? TryOpen(string folder)
    {
        var file = Path.Combine(folder, RecipeName);
        if (!File.Exists(file))
        {
            return Directory.Exists(CheckpointFolder.Root(folder)) ? CheckpointFolder.Store(folder) : null;
        }
        var recipe = ResolvedRecipe.Load(file).Recipe;
        // The folder of a local run has one run, whose name may not be the folder's.
        var run = StoredLedger.Runs(Path.Combine(folder, RunFolder.SiloStateName)) is [var stored] ? stored : Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));
        return CheckpointStores.Open(recipe.Checkpoints, run, folder);
    }
}

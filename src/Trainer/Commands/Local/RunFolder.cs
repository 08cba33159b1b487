using System.Diagnostics;
using System.Globalization;
using DarkMatter.Trainer.Recipes;

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>
/// The folder of a local run: recipe, silo state, logs, checkpoints, results. One <c>pretrain</c> at a time owns it, by a lock that the
/// operating system releases when that process ends, in whatever way.
/// </summary>
internal sealed class RunFolder : IDisposable
{
    /// <summary>The curve's file name.</summary>
    public const string StepsName = "steps.csv";

    /// <summary>The file name of the looks at the embeddings.</summary>
    public const string WatchName = "watch.csv";

    /// <summary>Name of the folder where the silo keeps its grains' state.</summary>
    public const string SiloStateName = "silo";

    private const string LockName = "run.lock";
    private const string OwnerName = "run.owner";
    private const string PresenceName = "children.lock";
    private static readonly TimeSpan OldChildrenPatience = TimeSpan.FromSeconds(20);

    private readonly FileStream owned;

    private RunFolder(string path, FileStream owned)
    {
        Path = path;
        this.owned = owned;
    }

    /// <summary>The folder's full path.</summary>
    public string Path { get; }

    /// <summary>The resolved recipe the run was started with.</summary>
    public string RecipePath => In("recipe.yaml");

    /// <summary>Where the silo keeps its grains' state.</summary>
    public string SiloState => In(SiloStateName);

    /// <summary>One row per step: step, loss, learning rate, images per second.</summary>
    public string StepsPath => In(StepsName);

    /// <summary>One row per look at the embeddings.</summary>
    public string WatchPath => In(WatchName);

    /// <summary>Results for programs.</summary>
    public string SummaryPath => In("summary.json");

    /// <summary>Results for people.</summary>
    public string ReportPath => In("report.html");

    /// <summary>The trained backbone.</summary>
    public string ExportPath => In("encoder.safetensors");

    /// <summary>A child's log.</summary>
    public string LogOf(string child) => System.IO.Path.Combine(Path, "logs", child + ".log");

    /// <summary>Becomes the owner of a run's folder; creates it when it does not exist.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="run">The run's name, for messages.</param>
    /// <exception cref="CommandException">Another process owns it, or it cannot be written.</exception>
    public static RunFolder Claim(string path, string run)
    {
        path = System.IO.Path.GetFullPath(path);
        FileStream owned;
        try
        {
            Directory.CreateDirectory(path);
            owned = new FileStream(System.IO.Path.Combine(path, LockName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new CommandException(ExitCode.BadRequest, $"{path}: this folder cannot be written; choose another with --output", e);
        }
        catch (IOException e) when (File.Exists(System.IO.Path.Combine(path, LockName)))
        {
            var owner = File.Exists(System.IO.Path.Combine(path, OwnerName)) ? File.ReadAllText(System.IO.Path.Combine(path, OwnerName)).Trim() : "another process";
            throw new CommandException(ExitCode.BadRequest,
                $"run '{run}' is being trained right now by {owner}, in {path}. Wait for it or stop it, or give this run another name with --run", e);
        }
        catch (IOException e)
        {
            throw new CommandException(ExitCode.BadRequest, $"{path}: this cannot be a run's folder: {e.Message}. Choose another with --output", e);
        }
        var folder = new RunFolder(path, owned);
        try
        {
            folder.WaitForOldChildren();
            File.WriteAllText(folder.In(OwnerName), string.Create(CultureInfo.InvariantCulture, $"process {Environment.ProcessId} (since {DateTime.Now:yyyy-MM-dd HH:mm:ss})\n"));
            return folder;
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>Marks a child as living in this folder for as long as the result is not disposed and the process lives.</summary>
    public static FileStream BePresent(string path) =>
        new(System.IO.Path.Combine(path, PresenceName), FileMode.OpenOrCreate, FileAccess.Read, FileShare.ReadWrite);

    /// <summary>Whether a run was started here before.</summary>
    public bool HasRun => File.Exists(RecipePath);

    /// <summary>
    /// Prepares the folder for a run: a new one in a fresh folder, or the one that is there, when the recipe allows it.
    /// </summary>
    /// <param name="run">The run's name.</param>
    /// <param name="recipe">The recipe asked for.</param>
    /// <param name="resume">Go on with the run that is there.</param>
    /// <param name="overwrite">Delete the run that is there and start over.</param>
    /// <returns>Canonical YAML of the recipe the run was started with.</returns>
    /// <exception cref="CommandException">There is a run and neither was asked for; there is none to resume; or the recipe changed.</exception>
    public string Prepare(string run, ResolvedRecipe recipe, bool resume, bool overwrite)
    {
        if (resume && HasRun)
        {
            var original = File.ReadAllText(RecipePath);
            var changes = recipe.ChangesThatForbidResume(original);
            if (changes.Count > 0)
            {
                throw new CommandException(ExitCode.BadRequest,
                    $"run '{run}' cannot be resumed, because its recipe changed (in {Path}):\n"
                    + string.Concat(changes.Select(change => $"  {change}\n"))
                    + "Undo the change to go on with it, or start a new run with another --run name (or this one over with --overwrite)");
            }
            return original;
        }
        if (resume)
        {
            throw new CommandException(ExitCode.BadRequest, $"there is no run '{run}' to resume in {Path}; start it without --resume, or name its folder with --output");
        }
        if (HasRun && !overwrite)
        {
            throw new CommandException(ExitCode.BadRequest,
                $"run '{run}' exists already in {Path}. Go on with it (--resume), start it over (--overwrite), or give this run another name (--run)");
        }
        Clear();
        File.WriteAllText(RecipePath, recipe.Yaml);
        return recipe.Yaml;
    }

    /// <summary>Gives the folder up.</summary>
    public void Dispose()
    {
        File.Delete(In(OwnerName));
        owned.Dispose();
    }

    /// <summary>Deletes what a run made, and nothing else that may lie in the folder.</summary>
    private void Clear()
    {
        foreach (var name in new[] { SiloStateName, "logs", "checkpoints" })
        {
            if (Directory.Exists(In(name)))
            {
                Directory.Delete(In(name), recursive: true);
            }
        }
        foreach (var file in new[] { RecipePath, StepsPath, SummaryPath, ReportPath, ExportPath })
        {
            File.Delete(file);
        }
    }

    /// <summary>Children of an owner that was killed notice within seconds; until they are gone, their silo still holds its state.</summary>
    private void WaitForOldChildren()
    {
        var waiting = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                new FileStream(In(PresenceName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None).Dispose();
                return;
            }
            catch (IOException e)
            {
                if (waiting.Elapsed > OldChildrenPatience)
                {
                    throw new CommandException(ExitCode.BadRequest,
                        $"processes of an earlier run still live in {Path} after {OldChildrenPatience.TotalSeconds:0} s; find them with 'ps ax | grep darkmatter' and end them", e);
                }
                Thread.Sleep(100);
            }
        }
    }

    private string In(string name) => System.IO.Path.Combine(Path, name);
}

using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>The files a trainer writes per step: the curve (rank 0) and, when asked for, the keys.</summary>
/// <param name="options">Who the trainer is.</param>
internal sealed class RunLogs(TrainerProcessOptions options) : IDisposable
{
    private StepLog? steps;
    private KeyLog? keys;

    /// <summary>Opens them, once the rank is known.</summary>
    public void Open(int rank, long startStep)
    {
        Directory.CreateDirectory(options.RunFolder);
        if (rank == 0)
        {
            steps = StepLog.Open(Path.Combine(options.RunFolder, RunFolder.StepsName), startStep);
        }
        if (options.RecordKeys is { } path)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            keys = new KeyLog(path);
        }
    }

    /// <summary>Records a step; called on the training thread.</summary>
    public void Write(StepReport report)
    {
        steps?.Write(report);
        keys?.Write(report);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        steps?.Dispose();
        keys?.Dispose();
    }
}

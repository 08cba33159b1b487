using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>The files a trainer writes per step: the curve and the looks at the embeddings (rank 0) and, when asked for, the keys.</summary>
/// <param name="options">Who the trainer is.</param>
internal sealed class RunLogs(TrainerProcessOptions options) : IDisposable
{
    /// <summary>So many steps are remembered: a trainer that becomes rank 0 writes the rows that the one before could not.</summary>
    private const int Remembered = 4096;

    private readonly Queue<StepReport> recent = new();
    private StepLog? steps;
    private string? watch;
    private KeyLog? keys;

    /// <summary>Opens them for a generation.</summary>
    public void Open(int rank, long startStep)
    {
        Directory.CreateDirectory(options.RunFolder);
        steps?.Dispose();
        steps = rank == 0 ? StepLog.Open(Path.Combine(options.RunFolder, RunFolder.StepsName), startStep, recent) : null;
        watch = rank == 0 ? Path.Combine(options.RunFolder, RunFolder.WatchName) : null;
        if (watch is not null)
        {
            WatchLog.Begin(watch, startStep);
        }
        if (keys is null && options.RecordKeys is { } path)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            keys = new KeyLog(path);
        }
    }

    /// <summary>Records a step; called on the training thread.</summary>
    public void Write(StepReport report)
    {
        recent.Enqueue(report with { Keys = [] });
        if (recent.Count > Remembered)
        {
            recent.Dequeue();
        }
        steps?.Write(report);
        if (watch is not null)
        {
            WatchLog.Append(watch, report);
        }
        keys?.Write(report);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        steps?.Dispose();
        keys?.Dispose();
    }
}

using System.Globalization;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>
/// A run's curve on disk: one CSV row per step, written by rank 0. A resumed run cuts the rows it is about to repeat and goes on below.
/// </summary>
public sealed class StepLog : IDisposable
{
    /// <summary>The first line of the file.</summary>
    public const string Header = "step,loss,learning_rate,images_per_second,seconds,data_wait_seconds,exposed_communication_seconds,embedding_std";

    private const int TailBytes = 4096;

    private readonly StreamWriter writer;

    private StepLog(StreamWriter writer) => this.writer = writer;

    /// <summary>Opens the file for the steps after <paramref name="startStep"/>; rows of later ones are cut off.</summary>
    /// <param name="path">The file.</param>
    /// <param name="startStep">Steps that are made.</param>
    /// <param name="known">Steps of which rows may be missing, because whoever wrote before was lost; in order.</param>
    public static StepLog Open(string path, long startStep, IEnumerable<StepReport>? known = null)
    {
        var last = LastStep(path);
        if (last is null || last > startStep)
        {
            var kept = startStep > 0 && File.Exists(path) ? Read(path).Where(row => row.Step <= startStep).ToList() : [];
            File.WriteAllLines(path, kept.Select(row => row.Line).Prepend(Header));
            last = kept.Count > 0 ? kept[^1].Step : 0;
        }
        var log = new StepLog(new StreamWriter(new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite)));
        foreach (var report in (known ?? []).Where(report => report.Step > last && report.Step <= startStep).DistinctBy(report => report.Step))
        {
            log.Write(report);
        }
        return log;
    }

    /// <summary>Appends a step. The row reaches the system at once: no checkpoint may be newer than the curve that leads to it.</summary>
    public void Write(StepReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        writer.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{report.Step},{report.Loss:R},{report.LearningRate:R},{report.ImagesPerSecond:0.0},{report.Elapsed.TotalSeconds:0.0000},{report.DataWait.TotalSeconds:0.0000},{report.ExposedCommunication.TotalSeconds:0.0000},{report.EmbeddingStd:0.00000}"));
        writer.Flush();
    }

    /// <inheritdoc/>
    public void Dispose() => writer.Dispose();

    /// <summary>The step of the last row, read from the file's end: it grows with the run. Null where the file does not end in a whole row.</summary>
    private static long? LastStep(string path)
    {
        if (!File.Exists(path))
        {
            return null;
        }
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var tail = new byte[Math.Min(file.Length, TailBytes)];
        file.Seek(-tail.Length, SeekOrigin.End);
        file.ReadExactly(tail);
        var text = System.Text.Encoding.UTF8.GetString(tail);
        if (!text.EndsWith('\n'))
        {
            return null;
        }
        var line = text.TrimEnd('\n').Split('\n')[^1];
        return line == Header ? 0 : long.TryParse(line.Split(',')[0], CultureInfo.InvariantCulture, out var step) ? step : null;
    }

    /// <summary>The rows of a file that are whole.</summary>
    public static IEnumerable<StepRow> Read(string path)
    {
        foreach (var line in File.ReadLines(path).Skip(1))
        {
            var cells = line.Split(',');
            if (cells.Length == 8 && long.TryParse(cells[0], CultureInfo.InvariantCulture, out var step)
                && double.TryParse(cells[1], CultureInfo.InvariantCulture, out var loss)
                && double.TryParse(cells[3], CultureInfo.InvariantCulture, out var rate)
                && double.TryParse(cells[4], CultureInfo.InvariantCulture, out var seconds))
            {
                yield return new StepRow(step, loss, rate, seconds, line);
            }
        }
    }
}

/// <summary>One step of a curve.</summary>
/// <param name="Step">Updates applied, this one included.</param>
/// <param name="Loss">Of the global batch.</param>
/// <param name="ImagesPerSecond">Of the global batch.</param>
/// <param name="Seconds">The step took.</param>
/// <param name="Line">The row as it stands in the file.</param>
public sealed record StepRow(long Step, double Loss, double ImagesPerSecond, double Seconds, string Line);

using System.Globalization;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>
/// What the looks at the embeddings found, on disk: one CSV row each, written by rank 0. A resumed run cuts the rows it is about to repeat.
/// </summary>
internal static class WatchLog
{
    /// <summary>The first line of the file.</summary>
    public const string Header = "step,loss,embedding_std,spread,effective_rank,participation,alignment,uniformity,verdict";

    private const int Cells = 9;

    /// <summary>Cuts the rows of steps after <paramref name="startStep"/>; creates the file when there is none.</summary>
    public static void Begin(string path, long startStep) =>
        File.WriteAllLines(path, Read(path).Where(row => row.Step <= startStep).Select(row => row.Line).Prepend(Header).ToList());

    /// <summary>Appends what a step's look found; nothing where it had none.</summary>
    public static void Append(string path, StepReport report)
    {
        if (report.Health is not { } found)
        {
            return;
        }
        File.AppendAllText(path, string.Create(CultureInfo.InvariantCulture,
            $"{report.Step},{found.Loss:R},{found.Std:0.00000},{found.Spread:0.000},{found.EffectiveRank:0.00},{found.Participation:0.000},{found.Alignment:0.0000},{found.Uniformity:0.0000},\"{found.Verdict}\"\n"));
    }

    /// <summary>The rows of a file that are whole; none where there is no file.</summary>
    public static IEnumerable<WatchRow> Read(string path)
    {
        foreach (var line in File.Exists(path) ? File.ReadLines(path).Skip(1) : [])
        {
            var cells = line.Split(',', Cells);
            if (cells.Length == Cells && cells[^1].Length > 1 && cells[^1].EndsWith('"') && long.TryParse(cells[0], CultureInfo.InvariantCulture, out var step))
            {
                yield return new WatchRow(step, cells[^1].Trim('"'), line);
            }
        }
    }
}

/// <summary>One look.</summary>
/// <param name="Step">Updates applied.</param>
/// <param name="Verdict">As <see cref="Evaluation.CollapseReport.Verdict"/>.</param>
/// <param name="Line">The row as it stands in the file.</param>
internal sealed record WatchRow(long Step, string Verdict, string Line);

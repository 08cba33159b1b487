using System.Globalization;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>Records which samples a rank used in each step: a line per step, <c>step TAB key TAB key …</c>, in batch order.</summary>
public sealed class KeyLog(string path) : IDisposable
{
    private readonly StreamWriter writer = new(path, append: true);

    /// <summary>Appends a step.</summary>
    public void Write(StepReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        writer.Write(report.Step.ToString(CultureInfo.InvariantCulture));
        foreach (var key in report.Keys)
        {
            writer.Write('\t');
            writer.Write(key);
        }
        writer.WriteLine();
        // A trainer that is killed has told of every step that it took part in.
        writer.Flush();
    }

    /// <inheritdoc/>
    public void Dispose() => writer.Dispose();
}

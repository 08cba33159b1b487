using System.Globalization;
using DarkMatter.Protocol;

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>Turns a run's status into the line that <c>pretrain</c> shows. The rate is smoothed over what was committed lately.</summary>
internal sealed class ProgressText
{
    private const int Window = 32;
    private readonly Queue<(double Seconds, long Step)> seen = [];

    /// <summary>The verdict in a word, unless all is well.</summary>
    private static string Sick(string health) => health.Split(':')[0] is var verdict and ("warning" or "collapsed") ? $"embeddings: {verdict}  " : "";

    /// <summary>The line for <paramref name="status"/>.</summary>
    /// <param name="status">The newest status.</param>
    /// <param name="clock">Time since training began.</param>
    public string Describe(RunStatus status, TimeSpan clock)
    {
        if (seen.Count == 0 || seen.Last().Step != status.Step)
        {
            seen.Enqueue((clock.TotalSeconds, status.Step));
            if (seen.Count > Window)
            {
                seen.Dequeue();
            }
        }
        if (status.State == RunState.Waiting)
        {
            return status.Generation == 0
                ? $"waiting for trainers: {status.Members.Count} of {status.World} joined"
                : $"step {status.Step}: {(status.Reason.Length > 0 ? status.Reason : "waiting for trainers")}";
        }
        if (status.State == RunState.Paused)
        {
            return $"step {status.Step}: paused{(status.Reason.Length > 0 ? $" ({status.Reason})" : "")}; 'darkmatter runs resume' goes on";
        }
        var (first, last) = (seen.Peek(), seen.Last());
        var perSecond = last.Seconds > first.Seconds ? (last.Step - first.Step) / (last.Seconds - first.Seconds) : 0;
        var total = status.TotalSteps;
        var left = total > 0 && perSecond > 0 ? Output.Clock(TimeSpan.FromSeconds((total - status.Step) / perSecond)) + " left" : "";
        var bar = total > 0 ? Output.Bar((double)status.Step / total, 16) + " " : "";
        var steps = total > 0 ? $"{status.Step}/{total}" : $"{status.Step}";
        return string.Create(CultureInfo.InvariantCulture,
            $"{bar}step {steps}  loss {(status.Step > 0 ? status.Loss.ToString("0.0000", CultureInfo.InvariantCulture) : "-")}  {status.ImagesPerSecond:0} images/s  {Sick(status.Health)}{left}").TrimEnd();
    }
}

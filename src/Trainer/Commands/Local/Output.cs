using System.Diagnostics;
using System.Globalization;

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>
/// What a command says while it works. On a terminal one live line is redrawn; elsewhere (a file, a pipe, CI) a plain line appears every
/// few seconds. Messages go to standard error, so that standard output stays for results.
/// </summary>
internal sealed class Output(TextWriter writer, bool live, TimeSpan plainEvery)
{
    private static readonly TimeSpan RedrawEvery = TimeSpan.FromMilliseconds(100);
    private readonly Lock gate = new();
    private readonly Stopwatch sinceLine = Stopwatch.StartNew();
    private bool drawn;
    private bool any;

    /// <summary>The output of this process: live when standard error is a terminal and nobody asked for plain text.</summary>
    public static Output OfProcess() => new(
        Console.Error,
        !Console.IsErrorRedirected && Environment.GetEnvironmentVariable("TERM") is not (null or "dumb") && Environment.GetEnvironmentVariable("CI") is null,
        TimeSpan.FromSeconds(5));

    /// <summary>Says a whole line.</summary>
    public void Line(string text)
    {
        lock (gate)
        {
            Erase();
            writer.WriteLine(text);
            writer.Flush();
        }
    }

    /// <summary>Shows how far something is; most calls are dropped, by time.</summary>
    /// <param name="text">The state, in one line.</param>
    /// <param name="final">Show this one in any case, and keep it.</param>
    public void Progress(Func<string> text, bool final = false)
    {
        lock (gate)
        {
            if (!final && any && sinceLine.Elapsed < (live ? RedrawEvery : plainEvery))
            {
                return;
            }
            any = !final;
            sinceLine.Restart();
            if (!live)
            {
                writer.WriteLine(text());
                writer.Flush();
                return;
            }
            var line = text();
            var width = Width();
            writer.Write("\r" + (line.Length > width ? line[..width] : line) + "\u001b[K");
            drawn = true;
            if (final)
            {
                writer.WriteLine();
                drawn = false;
            }
            writer.Flush();
        }
    }

    /// <summary>Shows how many of a known number are done.</summary>
    /// <param name="what">What is counted, in words.</param>
    /// <param name="total">How many there are.</param>
    public IProgress<int> Counter(string what, int total) => new Counted(this, what, total);

    /// <summary>A span as people read it on a clock: <c>4:05</c>, <c>1:02:03</c>.</summary>
    public static string Clock(TimeSpan span) => span.TotalHours >= 1
        ? span.ToString(@"h\:mm\:ss", CultureInfo.InvariantCulture)
        : span.ToString(@"m\:ss", CultureInfo.InvariantCulture);

    /// <summary>A bar of <paramref name="cells"/> characters, filled to <paramref name="part"/>.</summary>
    public static string Bar(double part, int cells)
    {
        var full = (int)Math.Round(Math.Clamp(part, 0, 1) * cells);
        return new string('█', full) + new string('░', cells - full);
    }

    private void Erase()
    {
        if (drawn)
        {
            writer.Write("\r\u001b[K");
            drawn = false;
        }
    }

    /// <summary>Reports at once, on the caller's thread.</summary>
    private sealed class Counted(Output output, string what, int total) : IProgress<int>
    {
        public void Report(int value) => output.Progress(() => string.Create(CultureInfo.InvariantCulture, $"{what}, {value:N0} of {total:N0}"));
    }

    private static int Width()
    {
        try
        {
            return Math.Max(20, Console.WindowWidth - 1);
        }
        catch (IOException)
        {
            return 120;
        }
    }
}

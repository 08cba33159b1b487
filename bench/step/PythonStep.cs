using System.Diagnostics;
using System.Globalization;

namespace DarkMatter.Step.Bench;

/// <summary>step.py as a child process that waits, using no processor, while the other side runs.</summary>
internal sealed class PythonStep : IDisposable
{
    private static readonly TimeSpan Deadline = TimeSpan.FromMinutes(10);
    private readonly Process process;

    internal PythonStep(int views)
    {
        // Debian's interpreter: python3-torch is installed for it, and for no other that PATH may name first.
        var start = new ProcessStartInfo("/usr/bin/python3", [Path.Combine(AppContext.BaseDirectory, "step.py"), "--views", $"{views}"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        start.Environment["OMP_NUM_THREADS"] = start.Environment["OPENBLAS_NUM_THREADS"] = "1";
        process = Process.Start(start) ?? throw new InvalidOperationException("/usr/bin/python3 could not be started: install the Debian packages python3 and python3-torch");
        var greeting = Read();
        Version = greeting.StartsWith("ready ", StringComparison.Ordinal) ? greeting[6..] : throw new InvalidOperationException($"step.py said '{greeting}' instead of 'ready'");
    }

    internal string Version { get; }

    public void Dispose()
    {
        process.StandardInput.Close();
        if (!process.WaitForExit(TimeSpan.FromSeconds(20))) process.Kill();
        process.Dispose();
    }

    internal Measurement Run(string precision, int steps)
    {
        process.StandardInput.WriteLine($"step {precision} {steps}");
        process.StandardInput.Flush();
        var numbers = Read().Split(' ').Select(part => double.Parse(part, CultureInfo.InvariantCulture)).ToArray();
        return new(numbers[0] / steps, numbers[1] / steps, numbers[2]);
    }

    private string Read()
    {
        var line = process.StandardOutput.ReadLineAsync();
        if (!line.Wait(Deadline)) throw new TimeoutException($"step.py did not answer within {Deadline.TotalMinutes} minutes");
        return line.Result ?? throw new InvalidOperationException("step.py ended early: does '/usr/bin/python3 -c \"import torch\"' work? Install the Debian package python3-torch");
    }
}

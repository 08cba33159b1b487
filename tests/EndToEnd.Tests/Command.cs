using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;

namespace DarkMatter.EndToEnd.Tests;

/// <summary>
/// A real <c>darkmatter</c> process as a user would start it. Every wait has a deadline, and a failure shows what the process said and what
/// its run's logs say.
/// </summary>
internal sealed partial class Command : IAsyncDisposable
{
    /// <summary>More than any command here takes on a busy machine.</summary>
    public static readonly TimeSpan Deadline = TimeSpan.FromMinutes(5);

    private readonly Process process;
    private readonly StringBuilder output = new();
    private readonly StringBuilder error = new();
    private readonly Task pumps;
    private readonly string line;

    private Command(Process process, string line)
    {
        this.process = process;
        this.line = line;
        pumps = Task.WhenAll(PumpAsync(process.StandardOutput, output), PumpAsync(process.StandardError, error));
    }

    /// <summary>The program under test.</summary>
    public static string Executable { get; } =
        Environment.GetEnvironmentVariable("DARKMATTER_EXE") ?? Path.Combine(Repository.Root, "artifacts", "bin", "Trainer", "release", "darkmatter");

    public int Id => process.Id;

    public string Output => Read(output);

    public string Error => Read(error);

    public static Command Start(string workingFolder, params string[] arguments) => StartProgram(workingFolder, Executable, arguments);

    /// <summary>Starts a line as a person would paste it into a shell.</summary>
    public static Command StartShell(string workingFolder, string line) => StartProgram(workingFolder, "/bin/sh", ["-c", "exec " + line]);

    public static async Task<Finished> RunAsync(string workingFolder, params string[] arguments)
    {
        await using var command = Start(workingFolder, arguments);
        return await command.FinishAsync();
    }

    /// <summary>Waits for the end.</summary>
    public async Task<Finished> FinishAsync(TimeSpan? deadline = null)
    {
        try
        {
            await process.WaitForExitAsync().WaitAsync(deadline ?? Deadline);
            await pumps.WaitAsync(TimeSpan.FromSeconds(30));
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"'{line}' did not end within {(deadline ?? Deadline).TotalSeconds:0} s.\n{Story()}");
        }
        return new Finished(process.ExitCode, Output, Error, Story());
    }

    /// <summary>Waits until something is true; fails at once when the command ends before.</summary>
    public async Task UntilAsync(Func<bool> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            if (process.HasExited)
            {
                await pumps.WaitAsync(TimeSpan.FromSeconds(30));
                throw new InvalidOperationException($"'{line}' ended before {what}.\n{Story()}");
            }
            if (clock.Elapsed > Deadline)
            {
                throw new TimeoutException($"'{line}': no {what} within {Deadline.TotalSeconds:0} s.\n{Story()}");
            }
            await Task.Delay(50);
        }
    }

    /// <summary>The process id of a child, by the name that the command printed it with.</summary>
    public int ChildId(string name) => int.Parse(Regex.Match(Error, name == "silo" ? @"silo\s+process (\d+)" : Regex.Escape(name) + @" \(process (\d+)\)").Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture);

    public void Signal(string signal, int? id = null)
    {
        using var kill = Process.Start("/bin/kill", ["-s", signal, (id ?? process.Id).ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        kill.WaitForExit(TimeSpan.FromSeconds(30)).ShouldBeTrue();
        kill.ExitCode.ShouldBe(0);
    }

    /// <summary>Whether any process of the run in this folder still lives.</summary>
    public static IReadOnlyList<int> LeftOver(string runFolder) =>
    [
        .. Directory.EnumerateDirectories("/proc").Select(Path.GetFileName).Where(name => name!.All(char.IsAsciiDigit)).Select(name => int.Parse(name!, System.Globalization.CultureInfo.InvariantCulture))
            .Where(id => CommandLineOf(id).Contains(runFolder, StringComparison.Ordinal)),
    ];

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited)
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(30));
        }
        process.Dispose();
    }

    private static Command StartProgram(string workingFolder, string program, string[] arguments)
    {
        File.Exists(program).ShouldBeTrue($"{program} is not built; run 'make build'");
        var start = new ProcessStartInfo(program) { WorkingDirectory = workingFolder, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }
        // Its debugger's sockets would stay in the folder of temporary files when it is killed.
        start.Environment["DOTNET_EnableDiagnostics"] = "0";
        return new Command(Process.Start(start)!, "darkmatter " + string.Join(' ', arguments));
    }

    private string Story()
    {
        var story = new StringBuilder();
        story.Append("--- standard output\n").Append(Output).Append("\n--- standard error\n").Append(Error);
        foreach (Match match in LogsLine().Matches(Error))
        {
            var folder = Path.GetFullPath(match.Groups[1].Value, process.StartInfo.WorkingDirectory);
            foreach (var file in Directory.Exists(folder) ? Directory.GetFiles(folder) : [])
            {
                story.Append($"\n--- {Path.GetFileName(file)}\n").AppendJoin('\n', File.ReadLines(file).TakeLast(40));
            }
        }
        return story.ToString();
    }

    private static string CommandLineOf(int id)
    {
        try
        {
            return File.ReadAllText($"/proc/{id}/cmdline").Replace('\0', ' ');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    private static string Read(StringBuilder text)
    {
        lock (text)
        {
            return text.ToString();
        }
    }

    private static async Task PumpAsync(StreamReader from, StringBuilder to)
    {
        while (await from.ReadLineAsync() is { } text)
        {
            lock (to)
            {
                to.Append(text).Append('\n');
            }
        }
    }

    [GeneratedRegex(@"^logs\s+(.+)$", RegexOptions.Multiline)]
    private static partial Regex LogsLine();
}

/// <summary>A command that has ended.</summary>
/// <param name="Code">Its exit code.</param>
/// <param name="Output">Its standard output.</param>
/// <param name="Error">Its standard error.</param>
/// <param name="Story">Both, and the logs of its run.</param>
internal sealed record Finished(int Code, string Output, string Error, string Story)
{
    /// <summary>Fails with the whole story unless the command ended with this code, and in no case with a stack trace.</summary>
    public Finished ShouldEndWith(int code)
    {
        Code.ShouldBe(code, Story);
        (Output + Error).ShouldNotContain("\n   at ", Case.Sensitive, Story);
        return this;
    }

    /// <summary>Fails with the whole story unless it said this on standard error.</summary>
    public Finished ShouldSay(string text)
    {
        Error.ShouldContain(text, Case.Sensitive, Story);
        return this;
    }
}

using System.Diagnostics;
using System.Globalization;

namespace DarkMatter.Bench;

/// <summary>What every benchmark says of itself: the machine, the commit, and how figures spread.</summary>
internal static class Machine
{
    private static readonly TimeSpan GitDeadline = TimeSpan.FromSeconds(10);

    /// <summary>The repository's folder.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>Processor, cores and what else runs here.</summary>
    public static string Hardware =>
        $"{CpuName()}, {Environment.ProcessorCount} cores, load {File.ReadAllText("/proc/loadavg").Split(' ')[0]}";

    /// <summary>The commit that was built, if the tree is what it was; <c>-dirty</c> behind it if not.</summary>
    public static string Commit()
    {
        using var git = Process.Start(new ProcessStartInfo("git", ["-C", Root, "describe", "--always", "--dirty"]) { RedirectStandardOutput = true, RedirectStandardError = true });
        var answer = git?.StandardOutput.ReadToEnd().Trim();
        git?.WaitForExit(GitDeadline);
        return string.IsNullOrEmpty(answer) ? "unknown" : answer;
    }

    /// <summary>The middle value; between the two middle ones of an even number.</summary>
    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>Smallest and largest: <c>[min, max]</c>.</summary>
    public static string Range(IEnumerable<double> values, string format)
    {
        var all = values.ToArray();
        return $"[{Text(all.Min(), format)}, {Text(all.Max(), format)}]";
    }

    /// <summary><c>median [min, max]</c>.</summary>
    public static string Spread(IEnumerable<double> values, string format)
    {
        var all = values.ToArray();
        return $"{Text(Median(all), format)} {Range(all, format)}";
    }

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static string CpuName() =>
        File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(": ")[^1] ?? "unknown";

    private static string FindRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "Distributed.sln")))
        {
            folder = folder.Parent ?? throw new InvalidOperationException("Run the benchmark inside the repository.");
        }

        return folder.FullName;
    }
}

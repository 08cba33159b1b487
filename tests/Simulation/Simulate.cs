using System.Diagnostics;
using System.Globalization;

namespace DarkMatter.Simulation;

/// <summary>The command behind <c>make simulate</c>: many runs from a first seed on.</summary>
internal static class Simulate
{
    private const int NamedFailures = 10;

    /// <summary>Simulates; 0 when no invariant broke.</summary>
    /// <param name="arguments">
    /// <c>--runs N</c>, <c>--seed S</c>, <c>--trace</c>; <c>--without fencing</c> or <c>--without durability</c> for a build that must be caught.
    /// </param>
    public static int Run(string[] arguments)
    {
        int runs = Number(arguments, "--runs", 1000), seed = Number(arguments, "--seed", 1);
        bool trace = arguments.Contains("--trace"), fencing = !arguments.Contains("fencing"), durable = !arguments.Contains("durability");
        var clock = Stopwatch.StartNew();
        long failures = 0, generations = 0, rolledBack = 0, events = 0;
        var simulated = TimeSpan.Zero;
        for (int i = 0; i < runs; i++)
        {
            var run = SimulatedRun.Of(Scenario.Of(seed + i) with { Fencing = fencing, DurableFirst = durable }, trace);
            generations += run.Generations;
            rolledBack += run.RolledBack;
            events += run.Events;
            simulated += run.Simulated;
            if (trace)
                Console.WriteLine(string.Join('\n', run.Notes));
            if (run.Broken is { } broken && ++failures <= NamedFailures)
                Console.WriteLine($"seed {run.Scenario.Seed}: {broken}\n  replay: {Replay(run.Scenario.Seed)}");
        }

        double seconds = clock.Elapsed.TotalSeconds;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"simulate: seeds {seed} to {seed + runs - 1}, {runs} runs in {seconds:0.0} s ({runs / seconds:0} runs/s, {simulated.TotalHours:0.0} h simulated, {events} events), "
            + $"{generations} generations, {rolledBack} steps rolled back"));
        Console.WriteLine($"BROKEN invariants {failures}");
        return failures == 0 ? 0 : 1;
    }

    /// <summary>The command that shows a seed's run again.</summary>
    public static string Replay(int seed) => $"make simulate RUNS=1 SEED={seed.ToString(CultureInfo.InvariantCulture)} TRACE=1";

    private static int Number(string[] arguments, string name, int otherwise)
    {
        int at = Array.IndexOf(arguments, name);
        return at < 0 ? otherwise
            : at + 1 < arguments.Length && int.TryParse(arguments[at + 1], CultureInfo.InvariantCulture, out int number) ? number
            : throw new ArgumentException($"{name} needs a whole number");
    }
}

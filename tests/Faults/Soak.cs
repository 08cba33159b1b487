using System.Diagnostics;
using System.Globalization;
using DarkMatter.EndToEnd.Tests;

namespace DarkMatter.Faults;

/// <summary>The command behind <c>make soak</c>: a run of four trainers to which something happens every few seconds, and its ledger's verdict.</summary>
internal static class Soak
{
    private const int Trainers = 4;

    /// <summary>Soaks; 0 when the ledger proves the run.</summary>
    /// <param name="arguments"><c>--seconds N</c>, <c>--seed S</c>.</param>
    public static async Task<int> RunAsync(string[] arguments)
    {
        var (seconds, seed) = (Number(arguments, "--seconds", 600), Number(arguments, "--seed", 1));
        var random = new Random(seed);
        using var workshop = new Workshop();
        await using var wires = new Wires(workshop, "soak", Trainers, port => new Proxy(port));
        await wires.Cluster.StartAsync(Trainers);
        Console.WriteLine($"soak: {seconds} s, seed {seed}");
        var (clock, failures) = (Stopwatch.StartNew(), 0);
        while (clock.Elapsed.TotalSeconds < seconds)
        {
            await Task.Delay(TimeSpan.FromSeconds(2 + (6 * random.NextDouble())));
            var strike = new Strike(
                (StrikeKind)random.Next(Enum.GetValues<StrikeKind>().Length), $"trainer-{random.Next(Trainers)}", TimeSpan.FromSeconds(0.5 + (5 * random.NextDouble())));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{clock.Elapsed.TotalSeconds,6:0.0}  {strike}"));
            await strike.HitAsync(wires);
            failures++;
        }

        var before = await wires.Cluster.UntilAsync(_ => true, "status");
        await wires.Cluster.UntilTrainsAsync(Trainers, 0, before.Step);
        var verdict = await wires.Cluster.ShouldBeProvenAsync();
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"soak: {failures} failures, {verdict.GetProperty("generations")} generations, {verdict.GetProperty("committed_steps")} steps, "
            + $"{verdict.GetProperty("finished_epochs")} epochs, {verdict.GetProperty("rolled_back_steps")} steps rolled back"));
        Console.WriteLine($"VERDICT {verdict.GetProperty("verdict").GetString()}");
        return 0;
    }

    private static int Number(string[] arguments, string name, int otherwise)
    {
        var at = Array.IndexOf(arguments, name);
        return at < 0 ? otherwise : int.Parse(arguments[at + 1], CultureInfo.InvariantCulture);
    }
}

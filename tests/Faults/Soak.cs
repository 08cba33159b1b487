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
        await using var cluster = await Cluster.StartAsync(workshop, "soak", Trainers);
        Console.WriteLine($"soak: {seconds} s, seed {seed}");
        var (clock, faults) = (Stopwatch.StartNew(), 0);
        while (clock.Elapsed.TotalSeconds < seconds)
        {
            await Task.Delay(TimeSpan.FromSeconds(2 + (6 * random.NextDouble())));
            faults++;
            await StrikeAsync(cluster, random, clock);
        }

        var before = await cluster.UntilAsync(_ => true, "status");
        await cluster.UntilTrainsAsync(Trainers, 0, before.Step);
        var verdict = await cluster.ShouldBeProvenAsync();
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"soak: {faults} faults, {verdict.GetProperty("generations")} generations, {verdict.GetProperty("committed_steps")} steps, "
            + $"{verdict.GetProperty("finished_epochs")} epochs, {verdict.GetProperty("rolled_back_steps")} steps rolled back"));
        Console.WriteLine($"VERDICT {verdict.GetProperty("verdict").GetString()}");
        return 0;
    }

    private static async Task StrikeAsync(Cluster cluster, Random random, Stopwatch clock)
    {
        var name = $"trainer-{random.Next(Trainers)}";
        var trainer = cluster.Trainers[name];
        void Say(string what) => Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{clock.Elapsed.TotalSeconds,6:0.0}  {what}"));
        switch (random.Next(5))
        {
            case 0 or 1:
                Say($"{name} is killed and started again");
                trainer.Signal("KILL");
                await trainer.FinishAsync();
                cluster.StartTrainer(name);
                break;
            case 2:
                var hang = TimeSpan.FromSeconds(0.5 + (5 * random.NextDouble()));
                Say(string.Create(CultureInfo.InvariantCulture, $"{name} is stopped for {hang.TotalSeconds:0.0} s"));
                trainer.Signal("STOP");
                await Task.Delay(hang);
                trainer.Signal("CONT");
                break;
            case 3:
                Say($"{name} is drained and started again");
                trainer.Signal("TERM");
                await trainer.FinishAsync();
                cluster.StartTrainer(name);
                break;
            default:
                Say("the silo is killed and started again");
                cluster.Silo.Signal("KILL");
                await cluster.Silo.FinishAsync();
                await cluster.StartSiloAsync();
                break;
        }
    }

    private static int Number(string[] arguments, string name, int otherwise)
    {
        var at = Array.IndexOf(arguments, name);
        return at < 0 ? otherwise : int.Parse(arguments[at + 1], CultureInfo.InvariantCulture);
    }
}

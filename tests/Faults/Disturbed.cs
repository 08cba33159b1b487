using System.Globalization;
using System.Text.Json;
using DarkMatter.EndToEnd.Tests;
using DarkMatter.Protocol;

namespace DarkMatter.Faults;

/// <summary>
/// The command behind <c>make disturbed</c>: a run that is struck twenty times against the run that nobody touched. What may differ is only what
/// another order of additions does, so a third, untouched run with another number of trainers shows how much that is.
/// </summary>
internal static class Disturbed
{
    private const int Failures = 20;
    private const int Trainers = 4;
    private const int Steps = 1000;

    /// <summary>How many times the noise of another world size a difference may be: the struck run changes its world many times, the other once.</summary>
    private const double MostNoises = 30;

    private static readonly int[] Windows = [1, 25, 50, 100, 200, 400, Steps];

    private static readonly string[] Recipe =
    [
        "--set", $"train.max_steps={Steps}", "--set", "train.precision=float64", "--set", "optimizer.lr=0.0001", "--set", "train.batch=96",
    ];

    /// <summary>Trains the three runs; 0 when the struck one is the untouched one within noise, and its ledger proves it.</summary>
    public static async Task<int> RunAsync()
    {
        using var workshop = new Workshop();
        var untouched = await TrainAsync(workshop, "untouched", Trainers, strike: false);
        var other = await TrainAsync(workshop, "other", Trainers - 1, strike: false);
        var struck = await TrainAsync(workshop, "struck", Trainers, strike: true);
        var good = struck.Count == untouched.Count;
        Console.WriteLine($"{"steps",-12} {"struck",12} {"3 trainers",12}   largest relative difference of the loss to the untouched run");
        for (var w = 1; w < Windows.Length && good; w++)
        {
            var (from, to) = (Windows[w - 1], Windows[w]);
            var (ours, noise) = (Largest(struck, untouched, from, to), Largest(other, untouched, from, to));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{from}..{to,-8} {ours,12:0.0e+00} {noise,12:0.0e+00}"));
            good = ours <= MostNoises * Math.Max(noise, 1e-15);
        }

        Console.WriteLine($"VERDICT {(good ? "the same run" : "another run")}");
        return good ? 0 : 1;
    }

    private static double Largest(IReadOnlyList<double> a, IReadOnlyList<double> b, int from, int to) =>
        Enumerable.Range(from - 1, to - from + 1).Max(step => Math.Abs(a[step] - b[step]) / Math.Abs(b[step]));

    private static async Task<IReadOnlyList<double>> TrainAsync(Workshop workshop, string about, int trainers, bool strike)
    {
        await using var cluster = await Cluster.StartAsync(workshop, about, trainers, null, Recipe);
        for (var i = 0; strike && i < Failures; i++)
            await StrikeAsync(cluster, i);
        var last = await cluster.UntilAsync(status => status.State is not (RunState.Training or RunState.Waiting), "end of the run");
        last.State.ShouldBe(RunState.Completed, last.Reason);
        last.Step.ShouldBe(Steps);
        var audit = (await Command.RunAsync(workshop.Path, "audit", cluster.Run, "--silo", cluster.Url, "--json")).ShouldEndWith(0);
        var verdict = JsonDocument.Parse(audit.Output).RootElement;
        Console.WriteLine($"{about}: {Steps} steps, {verdict.GetProperty("generations")} generations, {last.RolledBack} steps rolled back, ledger {verdict.GetProperty("verdict").GetString()}");
        return [.. File.ReadLines(Path.Combine(cluster.Folder, "steps.csv")).Skip(1).Select(line => double.Parse(line.Split(',')[1], CultureInfo.InvariantCulture))];
    }

    private static async Task StrikeAsync(Cluster cluster, int number)
    {
        var (name, before) = ($"trainer-{number % Trainers}", await cluster.StatusAsync());
        var trainer = cluster.Trainers[name];
        switch (number % 5)
        {
            case 0 or 1:
                trainer.Signal("KILL");
                await trainer.FinishAsync();
                cluster.StartTrainer(name);
                break;
            case 2:
                trainer.Signal("STOP");
                await Task.Delay(TimeSpan.FromSeconds(2.5));
                trainer.Signal("CONT");
                break;
            case 3:
                trainer.Signal("TERM");
                await trainer.FinishAsync();
                cluster.StartTrainer(name);
                break;
            default:
                cluster.Silo.Signal("KILL");
                await cluster.Silo.FinishAsync();
                await cluster.StartSiloAsync();
                break;
        }

        await cluster.UntilAsync(
            status => status.State == RunState.Training && status.Step > before.Step + 5 && status.Members.Count(member => member.Rank >= 0) == Trainers,
            $"all trainers back after failure {number + 1}");
    }
}

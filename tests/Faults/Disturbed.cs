using System.Diagnostics;
using System.Globalization;
using DarkMatter.EndToEnd.Tests;
using DarkMatter.Protocol;

namespace DarkMatter.Faults;

/// <summary>
/// The command behind <c>make disturbed</c>: a run of four trainers that is struck twenty times against the run that nobody touched. The images of every
/// step and the number of steps must be the same. The losses may differ by rounding alone: another number of trainers adds the same numbers in another
/// order. How much that is, untouched runs of one and three trainers show.
/// </summary>
internal static class Disturbed
{
    private const int Failures = 20;
    private const int Trainers = 4;
    private const int Steps = 400;

    /// <summary>The struck run changes its number of trainers dozens of times and the others never, so its roundings are other draws of the same size.</summary>
    private const double MostNoises = 3;

    /// <summary>In float64 what is left of the roundings over the first <see cref="Still"/> steps: below what one float32 sum over a batch may differ by.</summary>
    private const double MostInFloat64 = 1e-6;

    /// <summary>Training multiplies a rounding by ten every dozen steps or so, untouched runs' as well; until here it is small still.</summary>
    private const int Still = 200;

    /// <summary>What slows the steps of the struck run, so that it has not ended before the last failure: its wires, not its numbers.</summary>
    private static readonly TimeSpan s_delay = TimeSpan.FromMilliseconds(10);

    private static readonly int[] s_shown = [1, 10, 25, 50, 100, 200, Steps];

    /// <summary>Trains the runs, in float64 and in float32; 0 when the struck ones are the untouched ones within noise, and their ledgers prove it.</summary>
    public static async Task<int> RunAsync()
    {
        var clock = Stopwatch.StartNew();
        using var workshop = new Workshop();
        Console.WriteLine($"rule       same images in the same order and {Steps} steps; the deviation of the losses (rms, relative, up to any step) is at most {MostNoises} times");
        Console.WriteLine($"           the larger one of untouched runs with 1 and 3 trainers, and in float64 at most {MostInFloat64:0e+0} over the first {Still} steps");
        var same = await SameAsync(workshop, "float64", MostInFloat64) & await SameAsync(workshop, "float32", double.PositiveInfinity);
        Console.WriteLine($"took       {clock.Elapsed.TotalSeconds:0} s");
        Console.WriteLine($"VERDICT {(same ? "the same run" : "another run")}");
        return same ? 0 : 1;
    }

    private static async Task<bool> SameAsync(Workshop workshop, string precision, double most)
    {
        var untouched = await TrainAsync(workshop, precision, "untouched", Trainers, strike: false);
        Trace[] others = [await TrainAsync(workshop, precision, "untouched", 1, strike: false), await TrainAsync(workshop, precision, "untouched", 3, strike: false)];
        var struck = await TrainAsync(workshop, precision, "struck", Trainers, strike: true);

        var (whole, wrong) = struck.CompareImages(others[0]);
        var (untouchedWhole, untouchedWrong) = untouched.CompareImages(others[0]);
        Console.WriteLine($"{precision}    images: {whole} of {Steps} steps compared whole, {wrong.Count + untouchedWrong.Count} wrong; of the rest a killed trainer's part is in the ledger's digests alone");
        foreach (var line in wrong.Concat(untouchedWrong).Take(5))
            Console.WriteLine($"{precision}    {line}");

        var ours = struck.DeviationFrom(untouched);
        var noise = others.Select(other => other.DeviationFrom(untouched)).Aggregate((a, b) => [.. a.Zip(b, Math.Max)]);
        var worst = Enumerable.Range(0, Steps).Max(step => ours[step] / Math.Max(noise[step], double.Epsilon));
        Console.WriteLine($"{precision}    up to step  {string.Join(' ', s_shown.Select(step => $"{step,9}"))}");
        Console.WriteLine($"{precision}    struck      {Row(ours)}");
        Console.WriteLine($"{precision}    noise       {Row(noise)}");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{precision}    at most {worst:0.00} times the noise"));
        return wrong.Count + untouchedWrong.Count == 0 && untouchedWhole == Steps && whole >= Steps - Failures && worst <= MostNoises && ours[Still - 1] <= most;
    }

    private static string Row(IReadOnlyList<double> deviation) =>
        string.Join(' ', s_shown.Select(step => string.Create(CultureInfo.InvariantCulture, $"{deviation[step - 1],9:0.0e+00}")));

    private static async Task<Trace> TrainAsync(Workshop workshop, string precision, string about, int trainers, bool strike)
    {
        var keys = Directory.CreateDirectory(workshop.In($"keys-{precision}-{about}-{trainers}")).FullName;
        var files = 0;
        await using var wires = new Wires(workshop, $"{about}-{precision}-{trainers}", trainers, port => new Proxy(port) { Delay = strike ? s_delay : default }, name => $"--record-keys {keys}/{name}.{files++}");
        var cluster = wires.Cluster;
        await cluster.BeginAsync(trainers, "--set", $"train.max_steps={Steps}", "--set", $"train.precision={precision}", "--set", "optimizer.lr=0.0001");
        for (var i = 0; strike && i < Failures; i++)
            await StrikeAsync(wires, i);
        foreach (var wire in wires.ToTrainers)
            wire.Delay = default;
        var last = await cluster.UntilOverAsync();
        last.State.ShouldBe(RunState.Completed, last.Reason);
        last.Step.ShouldBe(Steps);
        var verdict = await cluster.AuditAsync();
        Console.WriteLine($"{precision}    {about}, {trainers} trainers: {Steps} steps in {verdict.GetProperty("generations")} generations, {last.RolledBack} steps rolled back, ledger {verdict.GetProperty("verdict").GetString()}");
        var trace = Trace.Read(cluster.Folder, keys, Steps);
        trace.Losses.Count.ShouldBe(Steps);
        return trace;
    }

    private static async Task StrikeAsync(Wires wires, int number)
    {
        // Every trainer is hit by every kind but the cut, which would only be waited for: 5 kinds, 4 trainers.
        var strike = new Strike((StrikeKind)(number % 5), $"trainer-{number % Trainers}", TimeSpan.FromSeconds(2.5));
        var before = await wires.Cluster.UntilAsync(status => status.State == RunState.Training && Cluster.Ranks(status) == Trainers, $"all trainers before failure {number + 1}");
        await strike.HitAsync(wires);
        await wires.Cluster.UntilAsync(
            status => status.State == RunState.Training && status.Step > before.Step + 2 && Cluster.Ranks(status) == Trainers, $"all trainers back after failure {number + 1}: {strike}");
    }
}

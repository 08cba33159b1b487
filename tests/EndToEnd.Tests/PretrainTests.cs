using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace DarkMatter.EndToEnd.Tests;

/// <summary>The path from images to a trained, evaluated, exported encoder.</summary>
public sealed class PretrainTests(Workshop workshop)
{
    private const int ComparedSteps = 50;

    /// <summary>
    /// A rate that trains: the loss falls from the first steps on. The runs compute in float64, because at any such rate a fresh network
    /// multiplies the rounding of differently ordered sums until, in float32, the losses part within a few steps (docs/benchmarks/world-sizes.md).
    /// </summary>
    private const string ComparedRate = "0.001";

    private const double Tolerance = 1e-4;

    [Fact]
    public async Task Pretrain_TwoTrainers_TrainsEvaluatesAndExports()
    {
        var run = workshop.NewRun("whole");
        var finished = await Command.RunAsync(workshop.Path, "pretrain", "--recipe", "small.yaml", "--run", run, "--output", $"out/{run}", "--json");
        finished.ShouldEndWith(0);

        using var summary = JsonDocument.Parse(finished.Output);
        var root = summary.RootElement;
        root.GetProperty("steps").GetInt64().ShouldBe(20);
        root.GetProperty("world").GetInt32().ShouldBe(2);
        root.GetProperty("precision").GetString().ShouldBe("float32");
        root.GetProperty("knn").GetDouble().ShouldBeInRange(0.1, 1);
        root.GetProperty("knn_raw_pixels").GetDouble().ShouldBeInRange(0.1, 1);
        root.GetProperty("images_per_second").GetDouble().ShouldBeGreaterThan(0);
        root.GetProperty("seconds").GetDouble().ShouldBeGreaterThan(0);
        File.ReadAllText(workshop.In("out", run, "summary.json")).ShouldBe(finished.Output);
        foreach (var key in new[] { "checkpoint", "export", "report", "curve" })
        {
            var path = workshop.In(root.GetProperty(key).GetString()!);
            (File.Exists(path) || Directory.Exists(path)).ShouldBeTrue(path);
        }
        File.ReadAllText(workshop.In("out", run, "report.html")).ShouldContain("<svg");
        Losses(workshop.In("out", run)).Count.ShouldBe(20);
        Command.LeftOver(workshop.In("out", run)).ShouldBeEmpty();

        var evaluated = await Command.RunAsync(workshop.Path, "evaluate", "--weights", $"out/{run}", "--json");
        using var again = JsonDocument.Parse(evaluated.ShouldEndWith(0).Output);
        again.RootElement.GetProperty("knn").GetDouble().ShouldBe(root.GetProperty("knn").GetDouble(), 1e-9);

        (await Command.RunAsync(workshop.Path, "export", "--weights", $"out/{run}", "--output", $"out/{run}.safetensors")).ShouldEndWith(0);
        File.ReadAllBytes(workshop.In("out", run + ".safetensors")).ShouldBe(File.ReadAllBytes(workshop.In("out", run, "encoder.safetensors")));

        (await Command.RunAsync(workshop.Path, "runs", "list", "--folder", "out")).ShouldEndWith(0).Output.ShouldContain(run);
    }

    [Fact]
    public async Task Pretrain_OneTwoOrThreeTrainers_SameSamplesAndLosses()
    {
        var losses = new List<IReadOnlyList<double>>();
        var keys = new List<IReadOnlyList<string>>();
        var momenta = new List<double[]>();
        foreach (var trainers in new[] { 1, 2, 3 })
        {
            var run = workshop.NewRun($"world-{trainers}");
            var finished = await Command.RunAsync(
                workshop.Path, "pretrain", "--recipe", "small.yaml", "--run", run, "--output", $"out/{run}", "--trainers", $"{trainers}",
                "--set", $"train.max_steps={ComparedSteps}", "--set", $"optimizer.lr={ComparedRate}", "--set", "train.precision=float64", "--no-evaluation", "--record-keys", $"keys/{run}");
            finished.ShouldEndWith(0);
            losses.Add(Losses(workshop.In("out", run)));
            keys.Add(Keys(workshop.In("keys", run)));
            momenta.Add(Doubles(workshop.In("out", run, "checkpoints", $"{ComparedSteps}"), "optimizer*.safetensors"));
        }
        losses[0].Count.ShouldBe(ComparedSteps);
        keys[0].Count.ShouldBe(ComparedSteps);
        for (var world = 1; world < 3; world++)
        {
            keys[world].ShouldBe(keys[0]);
            Norm(momenta[world].Zip(momenta[0], (a, b) => a - b)).ShouldBeLessThan(Tolerance * Norm(momenta[0]));
            for (var step = 0; step < ComparedSteps; step++)
            {
                var relative = Math.Abs(losses[world][step] - losses[0][step]) / Math.Abs(losses[0][step]);
                relative.ShouldBeLessThan(Tolerance, $"step {step + 1} of {world + 1} trainers: {losses[world][step]} instead of {losses[0][step]}");
            }
        }
    }

    [Fact]
    public async Task Pretrain_WithATimeBudget_MakesFewerSteps()
    {
        var run = workshop.NewRun("budget");
        var finished = await Command.RunAsync(
            workshop.Path, "pretrain", "--recipe", "small.yaml", "--run", run, "--output", $"out/{run}", "--set", "train.max_steps=1000000", "--set", "train.epochs=1000000",
            "--set", "train.checkpoint_every=0", "--seconds", "20", "--json");
        using var summary = JsonDocument.Parse(finished.ShouldEndWith(0).Output);
        summary.RootElement.GetProperty("steps").GetInt64().ShouldBeInRange(10, 100_000);
    }

    [Fact]
    public async Task PrintConfig_PrintsEveryOption_AndReadsBack()
    {
        var first = (await Command.RunAsync(workshop.Path, "pretrain", "--recipe", "small.yaml", "--print-config", "--set", "optimizer.lr=0.25")).ShouldEndWith(0);
        first.Output.ShouldContain("  lr: 0.25\n");
        first.Output.ShouldContain("  trust_coefficient: 0.001\n");
        workshop.WriteRecipe("printed.yaml", first.Output);
        (await Command.RunAsync(workshop.Path, "pretrain", "--recipe", "printed.yaml", "--print-config")).ShouldEndWith(0).Output.ShouldBe(first.Output);
    }

    [Fact]
    public async Task Help_NamesEveryCommand()
    {
        var help = (await Command.RunAsync(workshop.Path, "--help")).ShouldEndWith(0).Output;
        foreach (var command in new[] { "pretrain", "pack", "evaluate", "export", "runs", "silo", "trainer", "Exit codes" })
        {
            help.ShouldContain(command);
        }
    }

    internal static IReadOnlyList<double> Losses(string runFolder) =>
        [.. File.ReadLines(Path.Combine(runFolder, "steps.csv")).Skip(1).Select(line => double.Parse(line.Split(',')[1], CultureInfo.InvariantCulture))];

    private static double Norm(IEnumerable<double> values) => Math.Sqrt(values.Sum(value => value * value));

    /// <summary>Every number of the safetensors files of a checkpoint, float64, in the order of the tensors' names: the ranks share the tensors out.</summary>
    private static double[] Doubles(string folder, string pattern)
    {
        var tensors = new SortedDictionary<string, double[]>(StringComparer.Ordinal);
        foreach (var bytes in Directory.GetFiles(folder, pattern).Select(File.ReadAllBytes))
        {
            var header = BitConverter.ToInt32(bytes);
            using var json = JsonDocument.Parse(bytes.AsMemory(8, header));
            foreach (var entry in json.RootElement.EnumerateObject().Where(entry => entry.Name != "__metadata__"))
            {
                entry.Value.GetProperty("dtype").GetString().ShouldBe("F64");
                var offsets = entry.Value.GetProperty("data_offsets");
                tensors.Add(entry.Name, MemoryMarshal.Cast<byte, double>(bytes.AsSpan(8 + header)[offsets[0].GetInt32()..offsets[1].GetInt32()]).ToArray());
            }
        }
        return [.. tensors.Values.SelectMany(values => values)];
    }

    /// <summary>The keys of every step over all ranks, in an order that does not depend on who had them.</summary>
    private static IReadOnlyList<string> Keys(string folder) =>
    [
        .. Directory.GetFiles(folder).SelectMany(File.ReadLines).Select(line => line.Split('\t'))
            .GroupBy(cells => int.Parse(cells[0], CultureInfo.InvariantCulture), cells => cells.Skip(1)).OrderBy(step => step.Key)
            .Select(step => string.Join(' ', step.SelectMany(part => part).Order(StringComparer.Ordinal))),
    ];
}

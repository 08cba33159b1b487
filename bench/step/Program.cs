using System.Globalization;
using DarkMatter.Bench;
using DarkMatter.Step.Bench;
using DarkMatter.Trainer.Stack;

// One training step (normalise, forward, loss, backward, optimizer) of the product against the same step in python3-torch on the same
// libtorch: one process, one thread each, alternating. The memory bandwidth of a step is what fusing saves; the rest is convolution.
//
//     dotnet run --project bench/step [-- --pairs 7 --steps 3 --views 512]
//
// The last line is 'RATIO step X': their time over ours, the smaller of the two precisions.

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
var (pairs, steps, views) = (Option("--pairs", 7), Option("--steps", 3), Option("--views", 512));

// Both sides: one thread in ATen and in whatever BLAS the system has.
using var theirs = new PythonStep(views);
var ours = new ProductStep(views);
TorchStack.Current.SetThreads(1);

Console.WriteLine($"hardware    {Machine.Hardware}");
Console.WriteLine($"commit      {Machine.Commit()}");
Console.WriteLine($"ours        {TorchStack.Current.Description}");
Console.WriteLine($"theirs      {theirs.Version}, channels-last in both precisions, foreach SGD");
Console.WriteLine($"step        ResNet-18 width 16, 3x3 stem, {views} views of 28x28x3, projector 128-128, SimCLR, SGD; 1 thread");
Console.WriteLine($"method      {pairs} pairs, alternating, {steps} steps each after 2 steps of warm-up; CPU time per step (wall beside it), median [min, max]");

var smallest = double.PositiveInfinity;
foreach (var precision in new[] { "float32", "bfloat16" })
{
    if (precision == "bfloat16" && !TorchStack.Current.PrefersBFloat16)
    {
        Console.WriteLine("bfloat16    left out: this CPU has neither AVX512-BF16 nor AMX");
        continue;
    }
    ours.Run(precision, 2);
    theirs.Run(precision, 2);
    var measured = new List<(Measurement Ours, Measurement Theirs)>();
    for (var pair = 0; pair < pairs; pair++)
    {
        // Who goes first alternates too.
        var first = pair % 2 == 0 ? ours.Run(precision, steps) : theirs.Run(precision, steps);
        var second = pair % 2 == 0 ? theirs.Run(precision, steps) : ours.Run(precision, steps);
        measured.Add(pair % 2 == 0 ? (first, second) : (second, first));
    }
    var ratio = Machine.Median(measured.Select(pair => pair.Theirs.CpuSeconds / pair.Ours.CpuSeconds));
    smallest = Math.Min(smallest, ratio);
    Console.WriteLine($"{precision,-12}ours   {Spread(measured.Select(pair => pair.Ours))}, loss {measured[^1].Ours.Loss:f3}");
    Console.WriteLine($"            theirs {Spread(measured.Select(pair => pair.Theirs))}, loss {measured[^1].Theirs.Loss:f3}");
    Console.WriteLine($"            ratio  {ratio:f3} {Machine.Range(measured.Select(pair => pair.Theirs.CpuSeconds / pair.Ours.CpuSeconds), "f3")}");
}
Console.WriteLine($"RATIO step {smallest:f3}");
return 0;

int Option(string name, int otherwise) =>
    Array.IndexOf(args, name) is var at and >= 0 && at + 1 < args.Length && int.TryParse(args[at + 1], out var value) && value > 0 ? value : otherwise;

static string Spread(IEnumerable<Measurement> runs) =>
    $"{1e3 * Machine.Median(runs.Select(run => run.CpuSeconds)):f0} ms {Machine.Range(runs.Select(run => 1e3 * run.CpuSeconds), "f0")} (wall {1e3 * Machine.Median(runs.Select(run => run.WallSeconds)):f0} ms)";

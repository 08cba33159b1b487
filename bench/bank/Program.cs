// What a bank costs a training step: appending a batch's keys to a queue of 65,536 × 128 on every rank and reading it, against a plain gather of the keys;
// and the way to the silo and back to a reader, which no step waits for. Two ranks over gRPC on this machine, the sides alternating step by step.
//
//   dotnet run --project bench/bank                 the whole table
//   dotnet run --project bench/bank -- 256          this batch only
using System.Globalization;
using DarkMatter.Bank.Bench;
using DarkMatter.Collectives.Bench;

Hardware.Print(args);
int[] batches = args.Length > 0 ? [.. args.Select(arg => int.Parse(arg, CultureInfo.InvariantCulture))] : [256, 4096];
var medians = new List<string>();
foreach (var batch in batches)
{
    foreach (var float16 in (bool[])[false, true])
    {
        var mirror = await MirrorBench.RunAsync(batch, float16);
        await SiloBench.RunAsync(batch, float16);
        if (!float16)
            medians.Add(string.Create(CultureInfo.InvariantCulture, $"{mirror:0.000} (B={batch})"));
    }
}

Console.WriteLine($"MILLISECONDS bank_p50 {string.Join(' ', medians)}");
return 0;

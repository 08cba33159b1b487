// What a bank costs. A step waits for the mirror: the batch's keys go into a queue of 65,536 × 128 on every rank, and all of the queue is read. No step waits
// for the way to the silo and from it to a reader; nor for that of a memory of 1.3 M images. Ranks are threads of this process that talk gRPC over the loopback
// device, the sides alternating in rounds of a few steps.
//
//   dotnet run --project bench/bank                                 the whole page, in under 4 minutes
//   dotnet run --project bench/bank -- 256 --seconds 1 --images 100000     a look at it
//   … --output docs/benchmarks/bank.md                              and writes it there
using System.Globalization;
using DarkMatter.Bank.Bench;
using DarkMatter.Bench;
using DarkMatter.Collectives.Bench;

var arguments = Arguments.Parse(args);
var page = new Page();
page.Line($$"""
    # What a bank costs

    Written by `make bench-bank`. {{Machine.Hardware}}; commit {{Machine.Commit()}}; arguments: {{(args.Length > 0 ? string.Join(' ', args) : "none")}};
    {{Hardware.Limits()}}.
    Times are p50 / p99 in milliseconds, after a warm-up round; the sides of a line alternate in rounds. Wire: bytes on the loopback device with headers and
    barriers (of the round with the least, for other programs use it too); minimum: each row once to each that must have it.

    ## What a step waits for

    A queue of 65,536 × 128 on every rank. *Append*: gather the batch's keys and put them into this rank's queue; the gather alone stands beside it, and a method
    needs that anyway. *Read*: 4 queries times the whole queue, as a loss reads it, and beside it the same reading of a plain float32 tensor. In float16 the wire
    and the rows are half, but all rows are widened to be computed with, at every step.
    """);
MirrorBench.Head(page);
var medians = new List<string>();
foreach (var batch in arguments.Batches)
{
    foreach (var world in (int[])[2, 4])
    {
        foreach (var float16 in (bool[])[false, true])
        {
            var mirror = await new MirrorBench(world, batch, float16, arguments.Each).RunAsync(page);
            if (!float16)
                medians.Add(string.Create(CultureInfo.InvariantCulture, $"{mirror:0.000} (B={batch}, {world} ranks)"));
        }
    }
}

page.Line("");
page.Line("## What no step waits for");
page.Line("");
page.Line("A step's rows, 16 lanes in one message, to the silo, and from there to a reader outside the run that has the step before.");
SiloBench.Head(page);
foreach (var batch in arguments.Batches)
{
    foreach (var float16 in (bool[])[false, true])
        await new SiloBench(batch, float16, arguments.Each).RunAsync(page);
}

page.Line("");
page.Line("## A row for every image");
page.Line("");
page.Line("One trainer, the silo and a reader, all in this process; updates of 4,096 random images. Memory is what the kernel counts as resident beyond the start.");
await new MemoryBench(arguments.Images, arguments.Each).RunAsync(page);
if (arguments.Output is { } output)
    page.Write(output);
Console.WriteLine($"MILLISECONDS bank_p50 {string.Join(' ', medians)}");
return 0;

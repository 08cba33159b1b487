using System.Globalization;
using DarkMatter.Bench;
using DarkMatter.Checkpoint.Bench;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Stack;

// What one checkpoint a minute costs the training thread, for the state of a ResNet-50 (parameters, buffers, momenta).
//
//     make bench-checkpoint [ARGS="--pairs 7 --seconds 12 --folder /mnt/disk --every 60"]
//
// One thread computes without pause, as training does. Intervals with a checkpoint at their beginning alternate with intervals without one;
// an interval is longer than a checkpoint takes to write, so all that the checkpoint costs falls into it:
//
//     lost = interval − steps made in it / rate of the intervals beside it, which have no checkpoint
//
// That is the copy on the training thread and the slowdown while the background hashes and writes, both. The stall is lost / 60 s: the minute
// between checkpoints is not waited for, because nothing happens in the rest of it (--seconds 60 waits for it). The last line is
// 'PERCENT checkpoint_stall X': the median.

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
var (pairs, seconds, every) = (Option("--pairs", 7), Option("--seconds", 12), Option("--every", 60));
var folder = Directory.CreateDirectory(Path.Combine(Text("--folder") ?? Path.Combine("artifacts", "bench"), $"checkpoint-{Environment.ProcessId}")).FullName;
try
{
    TorchStack.Current.SetThreads(1);
    using var state = new State();
    Console.WriteLine($"hardware    {Machine.Hardware}");
    Console.WriteLine($"commit      {Machine.Commit()}");
    Console.WriteLine($"state       ResNet-50 and projector, SGD: {state.Bytes / 1e6:f1} MB in {state.Model.Tensors.Count + state.Memory.Tensors.Count} tensors, one rank; {TorchStack.Current.Description}");
    Console.WriteLine($"store       {folder}");
    Console.WriteLine($"method      {pairs} pairs of {seconds} s with and {seconds} s without a checkpoint, one computing thread; 1 pair of warm-up");
    var disk = Enumerable.Range(0, 3).Select(_ => Disk.WriteRate(folder, state.Bytes)).ToArray();
    Console.WriteLine($"limits      the disk writes and flushes as many bytes at {Spread(disk.Select(rate => rate / 1e6))} MB/s; one thread copies memory at {Disk.CopyRate(state.Bytes) / 1e9:f1} GB/s");

    using var store = CheckpointFolder.Store(folder);
    using var writer = new CheckpointWriter(
        store, new SoloCheckpoints((_, _) => Task.CompletedTask),
        new CheckpointWriterOptions { Generation = 1, Retention = new CheckpointRetention(KeepLast: 1), Note = Console.WriteLine }, state.Model, state.Memory);
    using var work = new Work();
    var (length, step) = (TimeSpan.FromSeconds(seconds), 0L);
    work.Run(length, writer, Progress);
    var before = work.Run(length, writer: null, progress: null);
    var lost = new List<double>();
    var with = new List<Interval>();
    for (var pair = 0; pair < pairs; pair++)
    {
        var checkpoint = work.Run(length, writer, Progress);
        if (checkpoint.Written == 0)
        {
            throw new InvalidOperationException($"the checkpoint was not written within {seconds} s; give --seconds more");
        }
        var after = work.Run(length, writer: null, progress: null);
        var rate = (before.Steps + after.Steps) / (before.Seconds + after.Seconds);
        lost.Add(checkpoint.Seconds - (checkpoint.Steps / rate));
        with.Add(checkpoint);
        before = after;
        Console.WriteLine($"pair {pair + 1,-7}lost {1e3 * lost[^1]:f0} ms: copy {1e3 * checkpoint.Captured:f0} ms, the rest slowdown; published after {checkpoint.Written:f2} s; {rate:f1} steps/s without");
    }
    writer.Complete();
    var median = Machine.Median(lost);
    Console.WriteLine($"copy        {Spread(with.Select(interval => 1e3 * interval.Captured))} ms on the training thread, {state.Bytes / 1e9 / Machine.Median(with.Select(interval => interval.Captured)):f1} GB/s");
    Console.WriteLine($"published   after {Spread(with.Select(interval => interval.Written))} s: {state.Bytes / 1e6 / Machine.Median(with.Select(interval => interval.Written)):f0} MB/s, hashed, written and flushed, beside the computing thread");
    Console.WriteLine($"lost        {Spread(lost.Select(time => 1e3 * time))} ms a checkpoint, one each {every} s");
    Console.WriteLine($"PERCENT checkpoint_stall {100 * median / every:f3}");
    return 0;

    TrainingProgress Progress() => new()
    {
        Run = "bench",
        Step = ++step,
        TotalSteps = 1_000_000,
        Planned = true,
        TrainedSeconds = 0,
        GlobalBatch = 256,
        LanePositions = [step],
        Seed = 1,
        RandomState = "",
        Method = "simclr",
    };
}
finally
{
    Directory.Delete(folder, recursive: true);
}

int Option(string name, int otherwise) => int.TryParse(Text(name), out var value) && value > 0 ? value : otherwise;

string? Text(string name) => Array.IndexOf(args, name) is var at and >= 0 && at + 1 < args.Length ? args[at + 1] : null;

static string Spread(IEnumerable<double> values) => Machine.Spread(values, "0.##");

using System.Diagnostics;
using System.Globalization;
using DarkMatter.Bench;
using DarkMatter.Protocol;
using DarkMatter.Recovery.Bench;

// How long a run of 4 trainers stands still when one is killed, hangs, or joins: from the event to the next step that every rank of the new
// membership has committed, as an observer at the silo sees it (reports and polling included).
//
//     make bench-recovery                       20 times each, on the demo's recipe
//     make bench-recovery ARGS="--times 5"

const int Trainers = 4;
var times = args is ["--times", var text] ? int.Parse(text, CultureInfo.InvariantCulture) : 20;
var patience = TimeSpan.FromSeconds(60);
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;

var program = Path.Combine(Machine.Root, "artifacts", "bin", "Trainer", "release", "darkmatter");
var recipe = Path.Combine(Machine.Root, "recipes", "simclr-fashion-mnist.yaml");
var folder = Directory.CreateTempSubdirectory("darkmatter-recovery-");
Console.WriteLine($"hardware  {Machine.Hardware}");
Console.WriteLine($"commit    {Machine.Commit()}");
Console.WriteLine($"method    {Trainers} trainers of 1 thread and a silo as processes on one machine, the demo's recipe in bfloat16 where the CPU has it; {times} of each kind");

var random = new Random(1);
List<double> killed = [], joined = [], paused = [], hung = [];
try
{
    await using var cluster = new Cluster(program, folder.FullName, recipe, Trainers);
    var packed = await cluster.RunAsync(["pack", "--idx", "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz", "--output", Path.Combine(folder.FullName, "data")]);
    if (packed.Code != 0)
    {
        throw new InvalidOperationException(packed.Output);
    }
    await cluster.StartAsync([$"data.dataset={Path.Combine(folder.FullName, "data")}", "train.max_steps=1000000", "train.epochs=1000000"]);
    await cluster.UntilAsync(Whole, "training of all trainers", TimeSpan.FromMinutes(3));
    Console.WriteLine($"step      {await StepTimeAsync(cluster) * 1000:0} ms undisturbed");

    for (var i = 0; i < times; i++)
    {
        var victim = await VictimAsync(cluster);
        Cluster.Signal("KILL", victim.ProcessId);
        killed.Add(await RecoveryAsync(cluster, Trainers - 1));

        // A new one in its place: from the start of its process, and how long the others stood still for it.
        var clock = Stopwatch.StartNew();
        cluster.StartTrainer();
        paused.Add(await LongestPauseAsync(cluster));
        joined.Add(clock.Elapsed.TotalSeconds);

        victim = await VictimAsync(cluster);
        Cluster.Signal("STOP", victim.ProcessId);
        hung.Add(await RecoveryAsync(cluster, Trainers - 1));
        Cluster.Signal("CONT", victim.ProcessId);
        await cluster.UntilAsync(Whole, "the return of a trainer that hung", patience);
        Console.WriteLine($"{i + 1,3}       killed {killed[^1]:0.00} s   joined {joined[^1]:0.00} s, the others paused {paused[^1]:0.00} s   hung {hung[^1]:0.00} s");
    }

    await cluster.StopAsync();
    await cluster.UntilAsync(status => status.State == RunState.Stopped, "the stop", patience);
    var audit = await cluster.RunAsync(["audit", Cluster.Run, "--silo", cluster.Silo]);
    Console.WriteLine(string.Join('\n', audit.Output.Trim().Split('\n').Select(line => "audit     " + line)));
    Print("killed -9: next committed step after", killed);
    Print("SIGSTOP (silence counts after 2 s): next committed step after", hung);
    Print("joining: longest pause between commits", paused);
    Print("joining: from the start of its process to a step with it", joined);
    Console.WriteLine($"SECONDS recovery_p50 {Percentile(killed, 0.5):0.000}");
    return audit.Code;
}
finally
{
    folder.Delete(recursive: true);
}

static bool Whole(RunStatus status) => Seated(status).Count == Trainers && status.State == RunState.Training && status.Step >= 5;

static List<Member> Seated(RunStatus status) => [.. status.Members.Where(member => !member.Spare && member.Rank >= 0)];

async Task<Member> VictimAsync(Cluster cluster)
{
    // Somewhere inside a step, at any rank.
    var settled = await cluster.StatusAsync();
    settled = await cluster.UntilAsync(status => Whole(status) && status.Step >= settled.Step + 4, "some steps", patience);
    await Task.Delay(random.Next(300));
    return Seated(settled)[random.Next(Trainers)];
}

// From now to the first commit of a new generation.
async Task<double> RecoveryAsync(Cluster cluster, int world)
{
    var clock = Stopwatch.StartNew();
    var before = await cluster.StatusAsync();
    var begun = -1L;
    await cluster.UntilAsync(
        status =>
        {
            if (status.Generation <= before.Generation || Seated(status).Count != world || status.State != RunState.Training)
            {
                return false;
            }
            // The first status of a generation says where it starts.
            begun = begun < 0 ? Math.Max(status.Step, before.Step) : begun;
            return status.Step > begun;
        },
        "the next committed step", patience);
    return clock.Elapsed.TotalSeconds;
}

async Task<double> LongestPauseAsync(Cluster cluster)
{
    var (step, since, longest) = (-1L, Stopwatch.StartNew(), 0.0);
    var joinedAt = -1L;
    await cluster.UntilAsync(
        status =>
        {
            if (status.Step != step)
            {
                longest = Math.Max(longest, step < 0 ? 0 : since.Elapsed.TotalSeconds);
                since.Restart();
                step = status.Step;
            }
            if (Seated(status).Count != Trainers)
            {
                return false;
            }
            joinedAt = joinedAt < 0 ? status.Step : joinedAt;
            return status.Step > joinedAt;
        },
        "a step with the new trainer", TimeSpan.FromMinutes(2));
    return longest;
}

async Task<double> StepTimeAsync(Cluster cluster)
{
    var from = await cluster.StatusAsync();
    var clock = Stopwatch.StartNew();
    var to = await cluster.UntilAsync(status => status.Step >= from.Step + 20, "20 steps", patience);
    return clock.Elapsed.TotalSeconds / (to.Step - from.Step);
}

static double Percentile(List<double> values, double share)
{
    var sorted = values.Order().ToArray();
    return sorted[(int)Math.Round(share * (sorted.Length - 1), MidpointRounding.AwayFromZero)];
}

static void Print(string what, List<double> values) =>
    Console.WriteLine($"{what,-64} p50 {Percentile(values, 0.5):0.00} s   p99 {Percentile(values, 0.99):0.00} s   max {values.Max():0.00} s");

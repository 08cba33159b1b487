using DarkMatter.Data;
using DarkMatter.Grains;
using DarkMatter.Protocol;

namespace DarkMatter.Simulation;

/// <summary>What is simulated: the run, its cluster, how much goes wrong, and, for the tests of the tests, what is deliberately broken.</summary>
internal sealed record Scenario
{
    private const int Lanes = 6;
    private const int Batch = 12;
    private const int MostSteps = 200;

    // 53 images in uneven shards: lanes differ in length, and epochs end within batches.
    private static readonly SampleOrder s_order = new(11, [20, 0, 7, 26], Lanes, 4);
    private static readonly ulong[][] s_images = Table();
    private static readonly ulong[] s_used = Prefix();

    public required int Seed { get; init; }

    public int World { get; init; } = 3;

    public int MinWorld { get; init; } = 1;

    public int MaxWorld { get; init; }

    public long TotalSteps { get; init; } = 120;

    public int CheckpointEvery { get; init; } = 20;

    /// <summary>Steps between comparisons of the ranks' hashes.</summary>
    public int HashEvery { get; init; } = 15;

    /// <summary>How many things go wrong.</summary>
    public int Faults { get; init; } = 8;

    /// <summary>How often a bit flips in a trainer's memory.</summary>
    public int Taints { get; init; }

    /// <summary>How often an operator pauses the run, and unpauses it later.</summary>
    public int Pauses { get; init; }

    /// <summary>When an operator stops the run; null: nobody does.</summary>
    public TimeSpan? StopAt { get; init; }

    /// <summary>When so many trainers are lost that the rest wait, for long; null: no such moment.</summary>
    public TimeSpan? StarveAt { get; init; }

    /// <summary>
    /// False: neither the silo nor the peers look at the generation of a message, and streams between peers outlive generations. What a trainer
    /// that was cut off had sent then arrives in the middle of another generation.
    /// </summary>
    public bool Fencing { get; init; } = true;

    /// <summary>False: the silo tells its trainers before what it tells them is stored.</summary>
    public bool DurableFirst { get; init; } = true;

    public RosterOptions Roster { get; init; } = new() { JoinTimeout = TimeSpan.FromSeconds(20) };

    public static SampleOrder Order => s_order;

    public RunPlan Run => new()
    {
        World = World,
        MinWorld = MinWorld,
        MaxWorld = MaxWorld,
        Lanes = Lanes,
        Batch = Batch,
        TotalSteps = TotalSteps,
        Samples = s_order.SampleCount,
        Dataset = "/data",
        DatasetDigest = "abc",
        RecipeYaml = "name: run\n",
    };

    /// <summary>Any cluster, run and number of faults.</summary>
    public static Scenario Of(int seed)
    {
        var random = new Random(seed ^ 0x5CE7A210);
        int world = random.Next(1, 5);
        var scenario = new Scenario
        {
            Seed = seed,
            World = world,
            MinWorld = random.Next(3) == 0 ? random.Next(1, world + 1) : 1,
            MaxWorld = random.Next(2) == 0 ? 0 : random.Next(world, Lanes + 1),
            TotalSteps = random.Next(40, 140),
            CheckpointEvery = random.Next(5, 50),
            Faults = random.Next(0, 14),
            HashEvery = random.Next(5, 30),
            Taints = random.Next(3) == 0 ? random.Next(1, 4) : 0,
            Pauses = random.Next(3) == 0 ? random.Next(1, 4) : 0,
            StopAt = random.Next(8) == 0 ? TimeSpan.FromSeconds(2 + (random.NextDouble() * 40)) : null,
        };
        return random.Next(10) == 0 ? scenario.Starving(random) : scenario;
    }

    // Calm, but for one moment in which most trainers are lost: those that are left wait below the least world, and are stopped or drained there.
    private Scenario Starving(Random random)
    {
        int world = Math.Max(2, World);
        double at = 4 + (random.NextDouble() * 3);
        return this with
        {
            World = world,
            MaxWorld = 0,
            MinWorld = world,
            TotalSteps = MostSteps - 1,
            Faults = 0,
            Taints = 0,
            Pauses = 0,
            StarveAt = TimeSpan.FromSeconds(at),
            StopAt = random.Next(2) == 0 ? TimeSpan.FromSeconds(at + 4 + (random.NextDouble() * 6)) : null,
        };
    }

    /// <summary>The digest of a step's images in some lanes.</summary>
    public ulong Images(IEnumerable<int> lanes, long step)
    {
        ulong sum = 0;
        foreach (int lane in lanes)
            sum += s_images[lane][step];
        return sum;
    }

    /// <summary>The digest of all images of all steps before this one.</summary>
    public ulong Used(long step) => s_used[step];

    public TimeSpan PrepareTime(Random random) => TimeSpan.FromMilliseconds(random.Next(50, 3_000));

    public TimeSpan ComputeTime(Random random) => TimeSpan.FromMilliseconds(random.Next(30, 90));

    public TimeSpan CopyTime(Random random) => TimeSpan.FromMilliseconds(random.Next(5, 300));

    public TimeSpan LoadTime(Random random) => TimeSpan.FromMilliseconds(random.Next(20, 800));

    /// <summary>A message of a build that has no generations in its messages.</summary>
    public void Unfence(TrainerMessage message, long generation)
    {
        switch (message.KindCase)
        {
            case TrainerMessage.KindOneofCase.Heartbeat: message.Heartbeat.Generation = generation; break;
            case TrainerMessage.KindOneofCase.StepApplied: message.StepApplied.Generation = generation; break;
            case TrainerMessage.KindOneofCase.GenerationBegan: message.GenerationBegan.Generation = generation; break;
            case TrainerMessage.KindOneofCase.PeerFailed: message.PeerFailed.Generation = generation; break;
            case TrainerMessage.KindOneofCase.Draining: message.Draining.Generation = generation; break;
            case TrainerMessage.KindOneofCase.Leaving: message.Leaving.Generation = generation; break;
        }
    }

    private static ulong[][] Table()
    {
        var table = new ulong[Lanes][];
        for (int lane = 0; lane < Lanes; lane++)
        {
            table[lane] = new ulong[MostSteps];
            for (int step = 0; step < MostSteps; step++)
            {
                for (int i = 0; i < Batch / Lanes; i++)
                    table[lane][step] += SampleDigest.Of(step, s_order.Locate(lane, (step * (Batch / Lanes)) + i));
            }
        }

        return table;
    }

    private static ulong[] Prefix()
    {
        var used = new ulong[MostSteps + 1];
        for (int step = 0; step < MostSteps; step++)
            used[step + 1] = used[step] + SampleDigest.OfStep(s_order, Batch, step);
        return used;
    }
}

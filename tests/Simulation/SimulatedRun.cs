using DarkMatter.Grains;

namespace DarkMatter.Simulation;

/// <summary>How a simulated run ended.</summary>
/// <param name="Scenario">What was simulated.</param>
/// <param name="Broken">The invariant that broke; null when none did.</param>
/// <param name="Generations">Memberships there were.</param>
/// <param name="RolledBack">Steps that were made again.</param>
/// <param name="Simulated">Simulated time.</param>
/// <param name="Events">Things that happened.</param>
/// <param name="Notes">What happened last, or, when traced, everything.</param>
internal sealed record SimulatedRun(Scenario Scenario, string? Broken, long Generations, long RolledBack, TimeSpan Simulated, long Events, IReadOnlyList<string> Notes)
{
    /// <summary>Trouble ends; from then on every run must go on to its end.</summary>
    private static readonly TimeSpan Trouble = TimeSpan.FromSeconds(40);

    /// <summary>The time a run has to end after that: more than the longest bench and all its steps.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <summary>Simulates one run from its beginning to its end.</summary>
    public static SimulatedRun Of(Scenario scenario, bool tracing = false)
    {
        var world = new World(scenario, tracing);
        var faults = new Faults(world);
        long events = 0;
        string? broken = null;
        try
        {
            world.StartSilo();
            for (int i = 0; i < scenario.World; i++)
                world.Clock.After(TimeSpan.FromSeconds(world.Random.NextDouble()), () => world.StartTrainer());
            faults.Plan();
            world.Clock.After(Trouble, faults.Mend);
            while (world.Disk.Record.IsLive && world.Clock.Next())
            {
                events++;
                if (world.Clock.Now > Trouble + Patience)
                    world.Laws.Break($"the run does not go on: it is {world.Disk.Record.State} at step {world.Disk.Record.Progress.Step}: {world.Disk.Record.Reason}");
            }

            if (world.Disk.Record.State == RunState.Stopped && world.Disk.Record.StopReason.Length > 0)
                world.Laws.Stopped(world.StopInPeace);
            else if (world.Disk.Record.State == RunState.Completed)
                world.Laws.Completed(nothingLost: scenario.StarveAt is not null);
            else
                world.Laws.Break($"the run ended as {world.Disk.Record.State}: {world.Disk.Record.Reason}");
        }
        catch (Exception exception)
        {
            broken = exception is LawBrokenException ? exception.Message : exception.ToString();
        }

        return new SimulatedRun(scenario, broken, world.Disk.Record.Generation, world.Disk.Record.RolledBack, world.Clock.Now, events, [.. world.Notes]);
    }
}

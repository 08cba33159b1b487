using DarkMatter.Grains;

namespace DarkMatter.Simulation;

/// <summary>The silo's disk: what is on it survives every silo.</summary>
internal sealed class Disk(World world, RunRecord created)
{
    /// <summary>The run as it is stored.</summary>
    public RunRecord Record { get; private set; } = created;

    /// <summary>Every write fails: it is full.</summary>
    public bool Full { get; set; }

    /// <summary>The time a write takes.</summary>
    public TimeSpan Delay() => TimeSpan.FromMicroseconds(world.Random.Next(20) == 0 ? world.Random.Next(5_000, 200_000) : world.Random.Next(300, 4_000));

    /// <summary>Stores the record; false when it could not be.</summary>
    public bool Write(RunRecord record)
    {
        if (Full)
            return false;
        var before = Record;
        Record = record;
        world.Laws.Stored(before, record);
        return true;
    }
}

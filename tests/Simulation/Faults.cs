namespace DarkMatter.Simulation;

/// <summary>What goes wrong, when, and for how long: drawn from the world's seed.</summary>
internal sealed class Faults(World world)
{
    private const int MostTrainers = 8;

    private static readonly TimeSpan LatestFault = TimeSpan.FromSeconds(25);

    /// <summary>Draws one fault's moment; draws what it is when the moment comes.</summary>
    public void Plan()
    {
        for (int i = 0; i < world.Plan.Faults; i++)
            world.Clock.After(LatestFault * world.Random.NextDouble(), Strike);
        for (int i = 0; i < world.Plan.Taints; i++)
            world.Clock.After(LatestFault * world.Random.NextDouble(), Taint);
        for (int i = 0; i < world.Plan.Pauses; i++)
            world.Clock.After(LatestFault * world.Random.NextDouble(), Pause);
        if (world.Plan.StopAt is { } stop)
            world.Clock.After(stop, () => Stop(inPeace: world.Plan.Faults == 0));
        if (world.Plan.StarveAt is { } starve)
            world.Clock.After(starve, Starve);
    }

    /// <summary>The end of all trouble: links are whole, nobody hangs, the silo lives, and there are trainers enough.</summary>
    public void Mend()
    {
        world.Network.MendAll();
        world.Blobs.Down = false;
        world.Disk.Full = false;
        world.Silo?.Resume();
        foreach (var trainer in world.Trainers)
            trainer.Resume();
        if (world.Silo is null)
            world.StartSilo();
        for (int i = world.Trainers.Count; i < world.Plan.World; i++)
            world.StartTrainer();
        Command("unpause", roster => roster.Unpause());
    }

    // Less than the least world is left: those that wait have what no checkpoint has. Then they are drained, or the run is stopped.
    private void Starve()
    {
        foreach (var trainer in world.Trainers.Skip(1 + world.Random.Next(world.Plan.MinWorld - 1)))
        {
            Say($"{trainer.Name} is killed");
            trainer.Kill();
        }

        if (world.Random.Next(3) == 0)
            RestartSilo(0.2, 3);
        if (world.Plan.StopAt is null)
        {
            foreach (var trainer in world.Trainers)
                Later(6, 9, () => trainer.Do(trainer.Drain));
        }
    }

    private void Pause()
    {
        Say("the run is paused");
        Command("pause", roster => roster.Pause());
        if (world.Random.Next(3) == 0)
            RestartSilo(0.1, 2);
        Later(0.5, 8, () => Command("unpause", roster => roster.Unpause()));
    }

    private void Stop(bool inPeace)
    {
        Say("the run is stopped");
        world.StopInPeace = inPeace;
        Command("stop", roster => roster.Stop("stopped by an operator"));
        if (world.Random.Next(3) == 0)
            RestartSilo(0.1, 2);
    }

    private void Taint()
    {
        // Only where most of a generation are right can it be seen who is wrong.
        var victims = world.Trainers.Where(trainer => trainer is { Generation: > 0, Memory: { Holds: true, Tainted: false } }).ToList();
        if (victims.Count < 3 || world.Trainers.Any(trainer => trainer.Memory.Tainted))
            return;
        var victim = victims[world.Random.Next(victims.Count)];
        Say($"{victim.Name} computes wrongly");
        victim.Taint((ulong)world.Random.Next(1, 64));
        if (world.Random.Next(4) == 0)
            RestartSilo(0.1, 2);
    }

    // An operator insists until the silo has taken it in.
    private void Command(string what, Action<SiloRoster> command)
    {
        if (!world.Disk.Record.IsLive)
            return;
        if (world.Silo is not { Hung: false } silo)
        {
            Later(0.2, 1, () => Command(what, command));
            return;
        }

        silo.Command(command, done =>
        {
            if (!done)
                Later(0.2, 1, () => Command(what, command));
            else
                Say($"{what} is acknowledged");
        });
    }

    private void RestartSilo(double least, double most)
    {
        world.KillSilo();
        Later(least, most, () =>
        {
            if (world.Silo is null)
                world.StartSilo();
        });
    }

    private void Strike()
    {
        var random = world.Random;
        var trainers = world.Trainers;
        var victim = trainers.Count > 0 ? trainers[random.Next(trainers.Count)] : null;
        switch (random.Next(16))
        {
            case 0 or 1 or 2 when victim is not null:
                Say($"{victim.Name} is killed");
                victim.Kill();
                if (random.Next(4) != 0)
                    Later(0.1, 8, () => Start(random.Next(2) == 0 ? victim.Name : null));
                break;
            case 3 or 4 when victim is not null:
                var hang = Seconds(0.3, 12);
                Say($"{victim.Name} hangs for {hang.TotalSeconds:0.0} s");
                victim.Hang();
                world.Clock.After(hang, victim.Resume);
                break;
            case 5 or 6 when trainers.Count > 1:
                Cut(victim!.Host, trainers[random.Next(trainers.Count)].Host, Seconds(0.1, 12));
                break;
            case 7 or 8 when victim is not null:
                Cut(victim.Host, World.SiloHost, Seconds(0.1, 15));
                break;
            case 9 when world.Silo is not null:
                RestartSilo(0.1, 14);
                break;
            case 10 when world.Silo is { } silo:
                Say("the silo hangs");
                silo.Hang();
                Later(0.2, 8, silo.Resume);
                break;
            case 11:
                Start(null);
                break;
            case 12 when victim is not null:
                Say($"{victim.Name} is drained");
                victim.Do(victim.Drain);
                Later(0.5, 6, () => Start(null));
                break;
            case 13:
                Say("the blob store fails");
                world.Blobs.Down = true;
                Later(0.5, 10, () => world.Blobs.Down = false);
                break;
            case 14:
                Say("the silo's disk is full");
                world.Disk.Full = true;
                Later(0.1, 3, () => world.Disk.Full = false);
                break;
            case 15 when random.Next(3) == 0:
                Say("the power fails everywhere");
                RestartSilo(0.1, 3);
                foreach (var trainer in trainers)
                    trainer.Kill();
                for (int i = 0; i < world.Plan.World; i++)
                    Later(0.1, 8, () => Start(null));
                break;
            case 15 when world.Blobs.Whole.ToArray() is [var newest, .. var older] && older.Any(path => World.StepOf(path) < World.StepOf(newest)):
                // An older whole one is always left.
                Say($"checkpoint {newest} is damaged");
                world.Blobs.Damage(newest);
                break;
            default:
                world.Clock.WallOffset += TimeSpan.FromMinutes(random.Next(-600, 600));
                break;
        }
    }

    private void Start(string? name)
    {
        if (world.Trainers.Count < MostTrainers && !world.Trainers.Any(trainer => trainer.Name == name))
            world.StartTrainer(name);
    }

    private void Cut(string a, string b, TimeSpan time)
    {
        if (a == b)
            return;
        Say($"the link between {a} and {b} is cut for {time.TotalSeconds:0.0} s");
        world.Network.Cut(a, b);
        world.Clock.After(time, () => world.Network.Mend(a, b));
    }

    private void Later(double least, double most, Action action) => world.Clock.After(Seconds(least, most), action);

    private TimeSpan Seconds(double least, double most) => TimeSpan.FromSeconds(least + ((most - least) * Math.Pow(world.Random.NextDouble(), 2)));

    private void Say(string what)
    {
        if (world.Tracing)
            world.Note($"FAULT: {what}");
    }
}

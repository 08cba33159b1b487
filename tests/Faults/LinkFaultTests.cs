using DarkMatter.EndToEnd.Tests;

namespace DarkMatter.Faults;

/// <summary>Bad wires between trainers, and from trainers to the silo: slow and lossy ones only slow the run down, one that drops connections heals.</summary>
public sealed class LinkFaultTests(Workshop workshop)
{
    [Fact]
    public async Task SlowLossyLinks_TheRunGoesOn_InOneGeneration()
    {
        await using var wires = new Wires(
            workshop, "slow", 3, port => new Proxy(port) { Delay = TimeSpan.FromMilliseconds(20), BytesPerSecond = 4 << 20, Loss = 0.002 });
        await wires.Cluster.BeginAsync(3, "--set", "train.sync_bn=false");
        var before = await wires.Cluster.UntilStepAsync(2);
        var after = await wires.Cluster.UntilStepAsync(20);
        after.Generation.ShouldBe(before.Generation);
        wires.To(after, rank: 0).Carried.ShouldBeGreaterThan(1 << 20, "the gradients came this way");
        await wires.Cluster.ShouldBeProvenWithoutRollbackAsync();
    }

    [Fact]
    public async Task LinksDropTheirConnections_AgainAndAgain_TheRunHeals()
    {
        await using var wires = new Wires(workshop, "drops", 3, port => new Proxy(port));
        await wires.Cluster.StartAsync(3);
        for (var i = 0; i < 4; i++)
        {
            var before = await wires.Cluster.StatusAsync();
            var wire = i % 2 == 0 ? wires.To(before, rank: i / 2) : wires.ToSilo;
            wire.Drop().ShouldBeGreaterThan(0);
            await wires.Cluster.UntilTrainsAsync(3, before.Generation, before.Step);
        }

        await wires.Cluster.ShouldBeProvenWithoutRollbackAsync();
    }
}

using DarkMatter.EndToEnd.Tests;

namespace DarkMatter.Faults;

/// <summary>Rows of the failure table that happen to the network, between machines made of network namespaces.</summary>
public sealed class NetworkFaultTests(Workshop workshop)
{
    private static readonly string[] s_machines = ["trainer-0", "trainer-1", "trainer-2"];

    [Fact]
    public async Task TrainerCutFromTheSilo_OthersGoOn_AndItComesBack()
    {
        using var network = Network();
        await using var cluster = await Cluster.StartAsync(workshop, "cut-silo", 3, network);
        var before = await cluster.StatusAsync();
        network.CutFromSilo("trainer-1");
        var without = await cluster.UntilTrainsAsync(2, before.Generation, before.Step);
        network.MendToSilo("trainer-1");
        await cluster.UntilTrainsAsync(3, without.Generation, without.Step);
        (await cluster.ShouldBeProvenAsync()).GetProperty("rolled_back_steps").GetInt64().ShouldBe(0);
    }

    [Fact]
    public async Task LinkBetweenTwoTrainersCut_OneWaitsOutside_AndComesBack()
    {
        using var network = Network();
        await using var cluster = await Cluster.StartAsync(workshop, "cut-link", 3, network);
        var before = await cluster.StatusAsync();
        network.Cut("trainer-1", "trainer-2");
        var without = await cluster.UntilTrainsAsync(2, before.Generation, before.Step);
        network.Mend("trainer-1", "trainer-2");
        await cluster.UntilTrainsAsync(3, without.Generation, without.Step);
        (await cluster.ShouldBeProvenAsync()).GetProperty("rolled_back_steps").GetInt64().ShouldBe(0);
    }

    private static Namespaces Network()
    {
        var (network, reason) = Namespaces.Create(s_machines);
        Assert.SkipWhen(network is null, reason);
        return network!;
    }
}

using DarkMatter.EndToEnd.Tests;

namespace DarkMatter.Faults;

/// <summary>Rows of the failure table that happen to the network, between machines made of network namespaces.</summary>
public sealed class NetworkFaultTests(Workshop workshop)
{
    [Fact]
    public async Task TrainerCutFromTheSilo_OthersGoOn_AndItComesBack() =>
        await CutAsync("cut-silo", network => network.CutFromSilo("trainer-1"), network => network.MendToSilo("trainer-1"));

    [Fact]
    public async Task LinkBetweenTwoTrainersCut_OneWaitsOutside_AndComesBack() =>
        await CutAsync("cut-link", network => network.Cut("trainer-1", "trainer-2"), network => network.Mend("trainer-1", "trainer-2"));

    private async Task CutAsync(string about, Action<Namespaces> cut, Action<Namespaces> mend)
    {
        var (made, reason) = Namespaces.Create("trainer-0", "trainer-1", "trainer-2");
        Assert.SkipWhen(made is null, reason);
        using var network = made!;
        await using var cluster = new Cluster(workshop, about, network.SiloAddress)
        {
            Before = name => name == "silo" ? "" : network.Machine(name).Prefix,
            With = name => $"--host {network.Machine(name).Address}",
        };
        await cluster.StartAsync(3);
        var before = await cluster.StatusAsync();
        cut(network);
        var without = await cluster.UntilTrainsAsync(2, before.Generation, before.Step);
        mend(network);
        await cluster.UntilTrainsAsync(3, without.Generation, without.Step);
        await cluster.ShouldBeProvenWithoutRollbackAsync();
    }
}

using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Orleans;
using Orleans.Configuration;
using Orleans.Hosting;
using Orleans.Runtime;
using Orleans.Storage;

namespace DarkMatter.Portable.Orleans.Tests;

public interface IWriterGrain : IGrainWithStringKey
{
    Task Note(string what);

    /// <summary>Waits at the gate, then calls another grain.</summary>
    Task NoteThrough(string gate, string other, string what);
}

/// <summary>Writes what it noted only when it is deactivated.</summary>
public sealed class WriterGrain([PersistentState("notes", "kept")] IPersistentState<Tally> notes, Probe probe) : Grain, IWriterGrain
{
    public Task Note(string what)
    {
        notes.State.Names.Add(what);
        return Task.CompletedTask;
    }

    public async Task NoteThrough(string gate, string other, string what)
    {
        probe.Note($"{gate} reached");
        await probe.Pass(gate);
        await GrainFactory.GetGrain<IWriterGrain>(other).Note(what);
    }

    public override async Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellationToken)
    {
        probe.Note($"{this.GetPrimaryKeyString()}: {reason.ReasonCode}");
        await notes.WriteStateAsync(cancellationToken);
    }
}

public sealed class KeptStorage : IGrainStorage
{
    public Dictionary<string, List<string>> Written { get; } = [];

    public Task ReadStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) => Task.CompletedTask;

    public Task WriteStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        lock (Written)
        {
            Written[grainId.Key.ToString()!] = [.. ((Tally)(object)grainState.State!).Names];
        }

        return Task.CompletedTask;
    }

    public Task ClearStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) => Task.CompletedTask;
}

public sealed class StopTests
{
    [Fact]
    public async Task Stop_DrainsCallsUnderWay_ThenDeactivatesEveryGrain_WhichWriteTheirState()
    {
        var kept = new KeptStorage();
        await using var silo = await TestSilo.Start(s => s.Services.AddKeyedSingleton<IGrainStorage>("kept", kept));
        for (int i = 0; i < 20; i++)
        {
            await silo.Client.GetGrain<IWriterGrain>($"w{i}").Note($"n{i}");
        }

        var underWay = silo.Client.GetGrain<IWriterGrain>("a").NoteThrough("gate", "fresh", "late");
        await silo.Probe.Saw("gate reached");
        var stop = silo.Stop(TestContext.Current.CancellationToken);

        // New calls from outside are refused at once, the one under way still ends and may call others.
        (await Should.ThrowAsync<SiloUnavailableException>(() => silo.Client.GetGrain<IWriterGrain>("w0").Note("too late")))
            .Message.ShouldContain("stopping");
        silo.Probe.Events.ShouldBe(["gate reached"]);
        stop.IsCompleted.ShouldBeFalse();
        silo.Probe.Open("gate");
        await underWay.Soon();
        await stop.Soon();

        kept.Written.Count.ShouldBe(22);
        kept.Written["w7"].ShouldBe(["n7"]);
        kept.Written["fresh"].ShouldBe(["late"]);
        silo.Probe.Events.Count(e => e.EndsWith(": ShuttingDown", StringComparison.Ordinal)).ShouldBe(22);
        await Should.ThrowAsync<SiloUnavailableException>(() => silo.Client.GetGrain<IWriterGrain>("w0").Note("too late"));
    }

    [Fact]
    public async Task Stop_AtItsDeadline_FailsWhatIsStillUnderWay()
    {
        var kept = new KeptStorage();
        await using var silo = await TestSilo.Start(s => s.Services.AddKeyedSingleton<IGrainStorage>("kept", kept));
        var stuck = silo.Client.GetGrain<IWriterGrain>("a").NoteThrough("never", "b", "x");
        await silo.Probe.Saw("never reached");
        using var deadline = new CancellationTokenSource();
        var stop = silo.Stop(deadline.Token);
        stop.IsCompleted.ShouldBeFalse();
        await deadline.CancelAsync();
        await stop.Soon();
        await Should.ThrowAsync<SiloUnavailableException>(() => stuck.Soon());
    }

    [Fact]
    public async Task Stop_IsNotHeldByAGrainThatNeverEnds()
    {
        await using var silo = await TestSilo.Start();
        await silo.Client.GetGrain<ILifeGrain>("never ends").Number();
        using var deadline = new CancellationTokenSource();
        var stop = silo.Stop(deadline.Token);
        await silo.Probe.Saw("never ends: ShuttingDown");
        stop.IsCompleted.ShouldBeFalse();
        await deadline.CancelAsync();
        await stop.Soon();
    }
}

public sealed class HostingTests
{
    [Fact]
    public async Task EveryKindOfHost_ServesGrains()
    {
        static void Configure(ISiloBuilder silo) => silo
            .UseLocalhostClustering(siloPort: 1, gatewayPort: 2, serviceId: "s", clusterId: "c")
            .ConfigureServices(services => services.AddSingleton<Probe>());

        var empty = Host.CreateEmptyApplicationBuilder(null);
        empty.UseOrleans(Configure);
        var web = WebApplication.CreateSlimBuilder();
        web.UseOrleans(Configure);
        var classic = new HostBuilder().UseOrleans(Configure);
        IHost[] hosts = [empty.Build(), new ProviderHost(web.Services.BuildServiceProvider()), classic.Build()];
        foreach (var host in hosts)
        {
            using (host)
            {
                await host.StartAsync(TestContext.Current.CancellationToken);
                (await host.Services.GetRequiredService<IGrainFactory>().GetGrain<IEchoGrain>("k").Key()).ShouldBe("k");
                host.Services.GetRequiredService<Microsoft.Extensions.Options.IOptions<ClusterOptions>>().Value.ServiceId.ShouldBe("s");
                await host.StopAsync(TestContext.Current.CancellationToken);
            }
        }
    }

    [Fact]
    public async Task CollectionAge_NotAboveTheQuantum_IsRefusedAtStart()
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.UseOrleans(silo => silo.Configure<GrainCollectionOptions>(o => o.CollectionAge = TimeSpan.FromSeconds(5)));
        using var host = builder.Build();
        (await Should.ThrowAsync<OrleansException>(() => host.StartAsync(TestContext.Current.CancellationToken)))
            .Message.ShouldContain("CollectionAge (00:00:05) must be greater than CollectionQuantum");
    }

    /// <summary>The silo of a web application's services without its web server, which would take a port.</summary>
    private sealed class ProviderHost(ServiceProvider services) : IHost
    {
        private readonly IHostedService _silo = services.GetServices<IHostedService>().Single(s => s.GetType().Name == "Silo");

        public IServiceProvider Services => services;

        public Task StartAsync(CancellationToken cancellationToken = default) => _silo.StartAsync(cancellationToken);

        public Task StopAsync(CancellationToken cancellationToken = default) => _silo.StopAsync(cancellationToken);

        public void Dispose() => services.Dispose();
    }
}

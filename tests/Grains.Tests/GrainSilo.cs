using DarkMatter.Portable.Orleans.Tests;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans;
using Orleans.Hosting;
using Orleans.Runtime;
using Orleans.Runtime.Hosting;
using Orleans.Storage;

namespace DarkMatter.Grains.Tests;

/// <summary>The product's grains on manual time, over a memory storage whose writes a test can count and fail.</summary>
public sealed class GrainSilo : IAsyncDisposable
{
    private IHost _host;

    private GrainSilo(IHost host, ManualTimeProvider time, WatchedStorage storage)
    {
        _host = host;
        Time = time;
        Storage = storage;
    }

    public ManualTimeProvider Time { get; }

    public WatchedStorage Storage { get; }

    public IGrainFactory Grains => _host.Services.GetRequiredService<IGrainFactory>();

    public static async Task<GrainSilo> Start(WatchedStorage? storage = null)
    {
        var time = new ManualTimeProvider();
        storage ??= new WatchedStorage();
        return new GrainSilo(await StartHost(time, storage), time, storage);
    }

    /// <summary>A new silo over the same storage; what grains held in memory is gone.</summary>
    public async Task Restart()
    {
        await DisposeAsync();
        _host = await StartHost(Time, Storage);
    }

    private static async Task<IHost> StartHost(ManualTimeProvider time, WatchedStorage storage)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton<TimeProvider>(time);
        builder.UseOrleans(silo =>
        {
            silo.UseLocalhostClustering();
            silo.AddMemoryGrainStorage("memory");
            silo.Services.AddGrainStorage(GrainStorageNames.State, (services, _) =>
            {
                storage.Inner ??= services.GetRequiredKeyedService<IGrainStorage>("memory");
                return storage;
            });
        });
        var host = builder.Build();
        await host.StartAsync();
        return host;
    }

    public async ValueTask DisposeAsync()
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        await _host.StopAsync(deadline.Token);
        _host.Dispose();
    }
}

/// <summary>Storage that outlives a silo, counts writes, and fails them when told to.</summary>
public sealed class WatchedStorage : IGrainStorage
{
    private int _writes;

    public IGrainStorage? Inner { get; set; }

    public bool Fails { get; set; }

    public int Writes => _writes;

    public Task ReadStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) =>
        Inner!.ReadStateAsync(stateName, grainId, grainState);

    public Task WriteStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        if (Fails)
        {
            throw new IOException("No space left on device");
        }

        Interlocked.Increment(ref _writes);
        return Inner!.WriteStateAsync(stateName, grainId, grainState);
    }

    public Task ClearStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) =>
        Inner!.ClearStateAsync(stateName, grainId, grainState);
}

using System.Collections.Concurrent;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans;
using Orleans.Configuration;
using Orleans.Hosting;

namespace DarkMatter.Portable.Orleans.Tests;

/// <summary>A silo on manual time with in-memory storage named "store", and a <see cref="Probe"/> shared with its grains.</summary>
public sealed class TestSilo : IAsyncDisposable
{
    /// <summary>Deadline of every wait in these tests: reached only when the code under test is wrong.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly IHost _host;

    private TestSilo(IHost host) => _host = host;

    public ManualTimeProvider Time { get; private init; } = new();

    public Probe Probe => _host.Services.GetRequiredService<Probe>();

    public IClusterClient Client => _host.Services.GetRequiredService<IClusterClient>();

    public static async Task<TestSilo> Start(Action<ISiloBuilder>? configure = null)
    {
        var time = new ManualTimeProvider();
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton<TimeProvider>(time);
        builder.Services.AddSingleton<Probe>();
        builder.UseOrleans(silo =>
        {
            silo.UseLocalhostClustering();
            silo.AddMemoryGrainStorage("store");
            silo.Configure<GrainCollectionOptions>(o =>
            {
                o.CollectionQuantum = TimeSpan.FromMinutes(1);
                o.CollectionAge = TimeSpan.FromMinutes(10);
            });
            configure?.Invoke(silo);
        });
        var host = builder.Build();
        await host.StartAsync();
        return new TestSilo(host) { Time = time };
    }

    public Task Stop(CancellationToken deadline = default) => _host.StopAsync(deadline);

    public async ValueTask DisposeAsync()
    {
        Probe.OpenAll();
        using var deadline = new CancellationTokenSource(Patience);
        await _host.StopAsync(deadline.Token);
        _host.Dispose();
    }
}

/// <summary>Where grains write what happened and wait for the test.</summary>
public sealed class Probe
{
    private readonly ConcurrentQueue<string> _events = new();
    private readonly ConcurrentDictionary<string, TaskCompletionSource> _gates = new();
    private readonly ConcurrentDictionary<string, TaskCompletionSource> _reached = new();
    private volatile bool _allOpen;

    public IReadOnlyList<string> Events => [.. _events];

    public void Note(string what)
    {
        _events.Enqueue(what);
        Reached(what).TrySetResult();
    }

    /// <summary>Completes once <paramref name="what"/> was noted.</summary>
    public Task Saw(string what) => Reached(what).Task.WaitAsync(TestSilo.Patience);

    /// <summary>Where a grain waits until the test opens the gate.</summary>
    public Task Pass(string gate)
    {
        var source = Gate(gate);
        if (_allOpen)
        {
            source.TrySetResult();
        }

        return source.Task;
    }

    public void Open(string gate) => Gate(gate).TrySetResult();

    public void OpenAll()
    {
        _allOpen = true;
        foreach (var gate in _gates.Values)
        {
            gate.TrySetResult();
        }
    }

    private TaskCompletionSource Gate(string name) =>
        _gates.GetOrAdd(name, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));

    private TaskCompletionSource Reached(string what) =>
        _reached.GetOrAdd(what, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
}

public static class Waiting
{
    /// <summary>The task, or a failure when the code under test never ends it.</summary>
    public static Task Soon(this Task task) => task.WaitAsync(TestSilo.Patience);

    public static Task<T> Soon<T>(this Task<T> task) => task.WaitAsync(TestSilo.Patience);
}

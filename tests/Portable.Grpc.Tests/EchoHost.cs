using System.Net;
using Grpc.AspNetCore.Server;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace DarkMatter.Portable.Grpc.Tests;

/// <summary>The echo service on a free port of this machine.</summary>
public sealed class EchoHost : IAsyncDisposable
{
    /// <summary>No test waits longer than this for anything.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly WebApplication _app;

    private EchoHost(WebApplication app, EchoProbe probe) => (_app, Probe) = (app, probe);

    public EchoProbe Probe { get; }

    public Uri Address => new(_app.Urls.First());

    public static async Task<EchoHost> StartAsync(
        Action<GrpcServiceOptions>? options = null, Action<KestrelServerOptions>? kestrel = null, Action<WebApplication>? map = null)
    {
        var probe = new EchoProbe();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(server =>
        {
            server.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
            kestrel?.Invoke(server);
        });
        builder.Services.AddSingleton(probe);
        builder.Services.AddGrpc(grpc => options?.Invoke(grpc));
        var app = builder.Build();
        app.MapGrpcService<EchoService>();
        map?.Invoke(app);
        await app.StartAsync();
        return new EchoHost(app, probe);
    }

    public GrpcChannel Connect(GrpcChannelOptions? options = null) => GrpcChannel.ForAddress(Address, options ?? new GrpcChannelOptions());

    public async ValueTask DisposeAsync()
    {
        using var patience = new CancellationTokenSource(Patience);
        await _app.StopAsync(patience.Token);
        await _app.DisposeAsync();
    }
}

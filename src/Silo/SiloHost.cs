using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using DarkMatter.Grains;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Hosting;
using Orleans.Runtime.Hosting;

namespace DarkMatter.Silo;

/// <summary>A silo of this process: grains, the coordinator service, health and the status page.</summary>
public sealed class SiloHost : IAsyncDisposable
{
    /// <summary>The largest message of the coordinator: a recipe and a few names fit many times over.</summary>
    private const int MaxMessageBytes = 4 << 20;

    private readonly WebApplication _app;
    private readonly FileGrainStorage _storage;

    private SiloHost(WebApplication app, FileGrainStorage storage, Uri grpcAddress, Uri httpAddress)
    {
        _app = app;
        _storage = storage;
        GrpcAddress = grpcAddress;
        HttpAddress = httpAddress;
    }

    /// <summary>Where the coordinator answers.</summary>
    public Uri GrpcAddress { get; }

    /// <summary>Where health and the status page answer.</summary>
    public Uri HttpAddress { get; }

    /// <summary>
    /// Runs a silo until it is told to stop: by <paramref name="cancellationToken"/>, SIGTERM, Ctrl-C, or the end of standard input where the
    /// options say so. Prints one line of JSON on standard output when it is ready:
    /// <c>{"event":"ready","port":7400,"http_port":7401,"grpc":"http://…","http":"http://…","pid":1}</c>.
    /// </summary>
    /// <exception cref="SiloStartException">It cannot start; the message says what to do.</exception>
    public static async Task RunAsync(SiloOptions options, CancellationToken cancellationToken)
    {
        await using var silo = await StartAsync(options, cancellationToken);
        await Console.Out.WriteLineAsync(silo.ReadyLine().AsMemory(), cancellationToken);
        await Console.Out.FlushAsync(cancellationToken);
        var lifetime = silo._app.Lifetime;
        using var asked = cancellationToken.UnsafeRegister(static l => ((IHostApplicationLifetime)l!).StopApplication(), lifetime);
        if (options.ParentPipe)
        {
            _ = Task.Run(() => StopAtEndOfInput(lifetime), CancellationToken.None);
        }

        await silo._app.WaitForShutdownAsync(CancellationToken.None);
    }

    /// <summary>Starts a silo; it is ready when this returns.</summary>
    /// <exception cref="SiloStartException">It cannot start; the message says what to do.</exception>
    public static async Task<SiloHost> StartAsync(SiloOptions options, CancellationToken cancellationToken)
    {
        if (options.Problems() is { Count: > 0 } problems)
        {
            throw new SiloStartException($"The silo's options are wrong: {string.Join("; ", problems)}.");
        }

        var storage = new FileGrainStorage(Path.Combine(options.StateDirectory, "grains"));
        var app = Build(options, storage);
        try
        {
            await app.StartAsync(cancellationToken);
            var addresses = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.ToArray();
            return new SiloHost(app, storage, Reachable(addresses[0]), Reachable(addresses[1]));
        }
        catch (Exception exception)
        {
            await app.DisposeAsync();
            storage.Dispose();
            if (exception is IOException { InnerException: AddressInUseException or SocketException } taken)
            {
                throw PortTaken(options, taken);
            }

            throw;
        }
    }

    /// <summary>Stops in good order: live runs are ended durably, calls under way end, grains write their state.</summary>
    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
        _storage.Dispose();
    }

    private static WebApplication Build(SiloOptions options, FileGrainStorage storage)
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.Logging.ClearProviders();
        builder.Logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.UseUtcTimestamp = true;
            console.TimestampFormat = "yyyy-MM-dd'T'HH:mm:ss.fff'Z' ";
        });
        // Standard output is for the ready line; everything for people goes to standard error.
        builder.Services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(
            console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        builder.Logging.SetMinimumLevel(LogLevel.Information);
        builder.Logging.AddFilter("Microsoft", LogLevel.Warning);
        // The official Orleans and gRPC tell every start, stop and broken stream at length; this program says what matters of them itself.
        builder.Logging.AddFilter("Orleans", LogLevel.Warning);
        builder.Logging.AddFilter("Orleans.Runtime.Silo", LogLevel.Error);
        builder.Logging.AddFilter("Grpc", LogLevel.Warning);
        // A port that is taken is told once, by this class.
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.Critical);
        builder.Logging.AddFilter("Microsoft.AspNetCore.Server.Kestrel", LogLevel.Error);

        var address = IPAddress.Parse(options.Bind);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(address, options.Port, listen => listen.Protocols = HttpProtocols.Http2);
            kestrel.Listen(address, options.HttpPort, listen => listen.Protocols = HttpProtocols.Http1);
        });
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = options.StopTimeout);
        builder.Services.TryAddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton<SessionHub>();
        builder.UseOrleans(silo =>
        {
            silo.UseLocalhostClustering(FreePort(), FreePort());
            silo.Services.AddGrainStorage(GrainStorageNames.State, (_, _) => storage);
        });
        builder.Services.AddHostedService(services => services.GetRequiredService<SessionHub>());
        builder.Services.AddGrpc(grpc => grpc.MaxReceiveMessageSize = MaxMessageBytes);

        var app = builder.Build();
        app.MapGrpcService<CoordinatorService>();
        app.MapGrpcService<BankService>();
        app.MapStatusPage();
        return app;
    }

    private string ReadyLine() => JsonSerializer.Serialize(new
    {
        @event = "ready",
        port = GrpcAddress.Port,
        http_port = HttpAddress.Port,
        grpc = GrpcAddress.ToString().TrimEnd('/'),
        http = HttpAddress.ToString().TrimEnd('/'),
        pid = Environment.ProcessId,
    });

    private static async Task StopAtEndOfInput(IHostApplicationLifetime lifetime)
    {
        // Off the console's reader, whose lock would hold up everybody else that reads.
        await using var input = Console.OpenStandardInput();
        byte[] ignored = new byte[256];
        while (await input.ReadAsync(ignored) > 0)
        {
        }

        lifetime.StopApplication();
    }

    // What listens everywhere is reached from this machine at its loopback address.
    private static Uri Reachable(string address)
    {
        var uri = new UriBuilder(address);
        if (IPAddress.TryParse(uri.Host.Trim('[', ']'), out var ip) && (ip.Equals(IPAddress.Any) || ip.Equals(IPAddress.IPv6Any)))
        {
            uri.Host = "127.0.0.1";
        }

        return uri.Uri;
    }

    private static SiloStartException PortTaken(SiloOptions options, IOException cause)
    {
        bool coordinator = cause.Message.Contains(FormattableString.Invariant($":{options.Port}:"), StringComparison.Ordinal);
        int port = coordinator ? options.Port : options.HttpPort;
        string option = coordinator ? "--port" : "--http-port";
        bool inUse = cause.InnerException is AddressInUseException;
        return new SiloStartException(
            inUse
                ? $"Port {port} on {options.Bind} is taken by another program. Choose another with {option} N ({option} 0 takes any free one), "
                  + $"or stop that program: `ss -ltnp 'sport = :{port}'` shows which it is."
                : $"Port {port} on {options.Bind} cannot be listened on ({cause.InnerException!.Message}). Choose another with {option} N, "
                  + "or another address with --bind.",
            cause);
    }

    // The official silo listens on two ports of its own, the portable one on none.
    private static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }
}

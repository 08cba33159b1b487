using System.Diagnostics;
using System.Net;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// Where a trainer's peers reach it: one HTTP/2 port for the life of the process. Streams belong to the generation that they name;
/// those of an older one are refused, those of a newer one wait until this trainer has learned of it.
/// </summary>
public sealed class PeerServer : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private WebApplication? _app;
    private GrpcCollective? _current;
    private long _newest = long.MinValue;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private PeerServer()
    {
    }

    /// <summary>The address to tell the others: <c>http://host:port</c>.</summary>
    public string Address { get; private set; } = "";

    /// <summary>Listens.</summary>
    /// <param name="bind">The interface; loopback by default. A cluster uses <see cref="IPAddress.Any"/>.</param>
    /// <param name="port">The port; 0 takes a free one.</param>
    /// <param name="advertise">The host name or address that peers use; by default <paramref name="bind"/>.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="IOException">The port is taken.</exception>
    public static async Task<PeerServer> StartAsync(
        IPAddress? bind = null, int port = 0, string? advertise = null, CancellationToken cancellationToken = default)
    {
        bind ??= IPAddress.Loopback;
        var server = new PeerServer();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton(server);
        builder.Services.AddSingleton<IHostLifetime, PassiveLifetime>();
        builder.Services.AddGrpc(options => (options.MaxReceiveMessageSize, options.MaxSendMessageSize) = (null, null));
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(bind, port, listen => listen.Protocols = HttpProtocols.Http2);
            kestrel.Limits.Http2.InitialStreamWindowSize = PeerTransport.WindowBytes;
            kestrel.Limits.Http2.InitialConnectionWindowSize = PeerTransport.WindowBytes;
            kestrel.Limits.Http2.KeepAlivePingDelay = PeerTransport.KeepAliveDelay;
            kestrel.Limits.Http2.KeepAlivePingTimeout = PeerTransport.KeepAliveTimeout;
            kestrel.Limits.MinRequestBodyDataRate = null;
            kestrel.Limits.MinResponseDataRate = null;
        });
        var app = builder.Build();
        app.MapGrpcService<PeerService>();
        await app.StartAsync(cancellationToken).ConfigureAwait(false);
        server._app = app;
        var bound = new Uri(app.Urls.First());
        server.Address = $"http://{advertise ?? bound.Host}:{bound.Port}";
        return server;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_app is { } app)
        {
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(2));
            await app.StopAsync(patience.Token).ConfigureAwait(false);
            await app.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Accepts streams of a collective's generation from now on.</summary>
    internal void Register(GrpcCollective collective)
    {
        lock (_gate)
        {
            if (collective.Generation <= _newest)
            {
                throw new InvalidOperationException(
                    $"Generation {collective.Generation} cannot follow {_newest}: generations only grow.");
            }

            (_current, _newest) = (collective, collective.Generation);
            _changed.SetResult();
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    internal void Unregister(GrpcCollective collective)
    {
        lock (_gate)
        {
            if (_current == collective)
            {
                _current = null;
            }
        }
    }

    /// <summary>The collective of a generation; waits for one that is to come.</summary>
    /// <exception cref="RpcException">FAILED_PRECONDITION: the generation is over. UNAVAILABLE: it did not come.</exception>
    internal async Task<GrpcCollective> FindAsync(long generation, CancellationToken cancellationToken)
    {
        var asked = Stopwatch.GetTimestamp();
        while (true)
        {
            Task changed;
            lock (_gate)
            {
                if (_current?.Generation == generation)
                {
                    return _current;
                }

                if (generation <= _newest)
                {
                    throw new RpcException(new Status(
                        StatusCode.FailedPrecondition, $"generation {generation} is over: this trainer is in generation {_newest}"));
                }

                changed = _changed.Task;
            }

            try
            {
                var left = PeerTransport.GenerationPatience - Stopwatch.GetElapsedTime(asked);
                await changed.WaitAsync(left > TimeSpan.Zero ? left : TimeSpan.Zero, cancellationToken).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                throw new RpcException(new Status(StatusCode.Unavailable, $"this trainer has not heard of generation {generation}"));
            }
        }
    }

    // The process's signals are the trainer's own business.
    private sealed class PassiveLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}

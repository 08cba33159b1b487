using System.Net;
using System.Threading.Channels;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Tests.Collectives;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace DarkMatter.Trainer.Tests.Commands.Sessions;

/// <summary>A silo that says what a test tells it to, and keeps what it hears.</summary>
internal sealed class FakeSilo : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly Service _service;

    private FakeSilo(WebApplication app, Service service) => (_app, _service) = (app, service);

    public Uri Address { get; private init; } = null!;

    public int Port => Address.Port;

    public static async Task<FakeSilo> StartAsync(int port = 0)
    {
        var service = new Service();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton(service);
        builder.Services.AddGrpc();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, port, listen => listen.Protocols = HttpProtocols.Http2));
        var app = builder.Build();
        app.MapGrpcService<Service>();
        await app.StartAsync();
        return new FakeSilo(app, service) { Address = new Uri(app.Urls.First()) };
    }

    /// <summary>The next stream that a trainer opens.</summary>
    public async Task<Stream> NextStreamAsync() => await _service.Streams.Reader.ReadAsync().AsTask().WaitAsync(World.Patience);

    public async ValueTask DisposeAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromMilliseconds(100));
        await _app.StopAsync(patience.Token);
        await _app.DisposeAsync();
    }

    /// <summary>One stream.</summary>
    internal sealed class Stream
    {
        private readonly Channel<TrainerMessage> _heard = Channel.CreateUnbounded<TrainerMessage>();
        private readonly Channel<SiloMessage> _say = Channel.CreateUnbounded<SiloMessage>();

        public void Say(SiloMessage message) => _say.Writer.TryWrite(message);

        /// <summary>Ends the stream with a status.</summary>
        public void End(StatusCode status, string detail) => _say.Writer.TryComplete(new RpcException(new Status(status, detail)));

        /// <summary>The next message that is no heartbeat.</summary>
        public async Task<TrainerMessage> HearAsync()
        {
            while (true)
            {
                var message = await _heard.Reader.ReadAsync().AsTask().WaitAsync(World.Patience);
                if (message.KindCase != TrainerMessage.KindOneofCase.Heartbeat)
                    return message;
            }
        }

        internal async Task ServeAsync(IAsyncStreamReader<TrainerMessage> reader, IServerStreamWriter<SiloMessage> writer, CancellationToken cancellationToken)
        {
            _ = Task.Run(async () =>
            {
                try
                {
                    await foreach (var message in reader.ReadAllAsync(cancellationToken))
                    {
                        _heard.Writer.TryWrite(message);
                        if (message.KindCase == TrainerMessage.KindOneofCase.Leaving)
                            _say.Writer.TryComplete();
                    }
                }
                catch (Exception e) when (e is RpcException or IOException or OperationCanceledException)
                {
                    _say.Writer.TryComplete();
                }
            }, CancellationToken.None);
            await foreach (var message in _say.Reader.ReadAllAsync(cancellationToken))
                await writer.WriteAsync(message, cancellationToken);
        }
    }

    internal sealed class Service : Coordinator.CoordinatorBase
    {
        public Channel<Stream> Streams { get; } = Channel.CreateUnbounded<Stream>();

        public override async Task Session(IAsyncStreamReader<TrainerMessage> requestStream, IServerStreamWriter<SiloMessage> responseStream, ServerCallContext context)
        {
            var stream = new Stream();
            Streams.Writer.TryWrite(stream);
            await stream.ServeAsync(requestStream, responseStream, context.CancellationToken);
        }
    }
}

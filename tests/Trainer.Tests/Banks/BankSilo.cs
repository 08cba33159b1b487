using DarkMatter.Protocol;
using DarkMatter.Silo;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Trainer.Tests.Banks;

/// <summary>A silo of this process whose run has the generations that a test trains; they are one trainer's, who does nothing.</summary>
internal sealed class BankSilo : IAsyncDisposable
{
    public const string Run = "test";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private readonly string _folder = Directory.CreateTempSubdirectory("bank-silo").FullName;
    private SiloHost _silo = null!;
    private GrpcChannel _channel = null!;
    private AsyncDuplexStreamingCall<TrainerMessage, SiloMessage>? _session;
    private int _port;
    private int _trainers;

    public Protocol.Banks.BanksClient Client => new(_channel);

    public static async Task<BankSilo> StartAsync()
    {
        var silo = new BankSilo();
        await silo.OpenAsync();
        silo._channel = GrpcChannel.ForAddress(silo._silo.GrpcAddress);
        await silo.Coordinator.CreateRunAsync(new CreateRunRequest
        {
            Run = Run,
            RecipeYaml = "name: test\n",
            World = 1,
            Lanes = 6,
            Batch = 12,
            Dataset = "/nowhere",
            DatasetDigest = "abc",
            Samples = 100,
        });
        return silo;
    }

    private Coordinator.CoordinatorClient Coordinator => new(_channel);

    /// <summary>The next generation, formed and stored.</summary>
    public async Task<long> NextGenerationAsync()
    {
        _session?.Dispose();
        _session = Coordinator.Session();
        await _session.RequestStream.WriteAsync(new TrainerMessage
        {
            Join = new Join { Run = Run, Name = $"trainer-{_trainers++}", Incarnation = $"{_trainers}", Address = "http://127.0.0.1:1", LastStep = -1 },
        });
        using var deadline = new CancellationTokenSource(Patience);
        while (await _session.ResponseStream.MoveNext(deadline.Token))
        {
            switch (_session.ResponseStream.Current.KindCase)
            {
                case SiloMessage.KindOneofCase.Standby:
                    await _session.RequestStream.WriteAsync(new TrainerMessage { Ready = new Ready { LastStep = -1 } });
                    break;
                case SiloMessage.KindOneofCase.Assignment:
                    return _session.ResponseStream.Current.Assignment.Generation;
            }
        }

        throw new InvalidOperationException("the silo ended the session without a place");
    }

    /// <summary>The silo ends and another begins on its port, with its state.</summary>
    public async Task RestartAsync()
    {
        _session?.Dispose();
        await _silo.DisposeAsync();
        await OpenAsync();
    }

    public async ValueTask DisposeAsync()
    {
        _session?.Dispose();
        _channel.Dispose();
        await _silo.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task OpenAsync()
    {
        _silo = await SiloHost.StartAsync(
            new SiloOptions { Port = _port, HttpPort = 0, StateDirectory = _folder, FailureTimeout = TimeSpan.FromMinutes(5), ReturnTimeout = TimeSpan.FromSeconds(1) },
            CancellationToken.None);
        _port = _silo.GrpcAddress.Port;
    }
}

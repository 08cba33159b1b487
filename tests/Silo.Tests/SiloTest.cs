using DarkMatter.Protocol;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Silo.Tests;

/// <summary>A whole silo in this process, spoken to by gRPC, and trainers that do what a test says.</summary>
public abstract class SiloTest : IAsyncLifetime
{
    private readonly TemporaryFolder _folder = new();
    private readonly List<FakeTrainer> _trainers = [];
    private SiloHost _silo = null!;
    private GrpcChannel _channel = null!;

    protected Coordinator.CoordinatorClient Client => new(_channel);

    protected Uri Grpc => _silo.GrpcAddress;

    protected string Folder => _folder.Path;

    protected Uri Http => _silo.HttpAddress;

    public async ValueTask InitializeAsync()
    {
        _silo = await SiloHost.StartAsync(
            new SiloOptions { Port = 0, HttpPort = 0, StateDirectory = _folder.Path, FailureTimeout = TimeSpan.FromSeconds(3) },
            TestContext.Current.CancellationToken);
        _channel = GrpcChannel.ForAddress(_silo.GrpcAddress);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var trainer in _trainers)
        {
            await trainer.DisposeAsync();
        }

        _channel.Dispose();
        await _silo.DisposeAsync();
        _folder.Dispose();
        GC.SuppressFinalize(this);
    }

    internal static CreateRunRequest Plan(string run = "demo", int world = 2, int minWorld = 0, int maxWorld = 0) => new()
    {
        Run = run,
        RecipeYaml = "name: demo\ntrain:\n  batch: 10\n",
        World = world,
        MinWorld = minWorld,
        MaxWorld = maxWorld,
        Lanes = 5,
        Batch = 10,
        Dataset = "/nowhere",
        DatasetDigest = "abc",
        Samples = 100,
    };

    internal static PublishCheckpointRequest Checkpoint(long step, long generation = 1) => new()
    {
        Run = "demo",
        Generation = generation,
        Step = step,
        Path = $"/c/{step}",
        ManifestSha256 = ByteString.CopyFrom(new byte[32]),
    };

    /// <summary>trainer-i joins; it ends with the test.</summary>
    protected async Task<FakeTrainer> Join(int i, string run = "demo", bool beats = true, string digest = "") =>
        Track(await FakeTrainer.Join(Grpc, run, $"trainer-{i}", beats, digest));

    /// <summary>trainer-i joins as soon as the silo has noticed that another process of this name is gone.</summary>
    protected async Task<FakeTrainer> JoinAgain(int i)
    {
        var trainer = await Join(i);
        while (!await trainer.Admitted())
        {
            trainer = await Join(i);
        }

        return trainer;
    }

    protected FakeTrainer Track(FakeTrainer trainer)
    {
        _trainers.Add(trainer);
        return trainer;
    }

    /// <summary>A run whose trainers have begun generation 1 at step 0.</summary>
    protected async Task<FakeTrainer[]> Begin(int world = 2, int minWorld = 0, int maxWorld = 0, string run = "demo")
    {
        await Client.CreateRunAsync(Plan(run, world, minWorld, maxWorld));
        var trainers = await Task.WhenAll(Enumerable.Range(0, world).Select(i => Join(i, run)));
        foreach (var trainer in trainers)
        {
            await trainer.Assignment();
        }

        await trainers[0].Began(0);
        return trainers;
    }

    protected async Task<RunStatus> Until(Func<RunStatus, bool> holds, string run = "demo")
    {
        using var deadline = new CancellationTokenSource(SiloProcess.Patience);
        using var watch = Client.WatchRun(new GetRunRequest { Run = run }, cancellationToken: deadline.Token);
        string last = "";
        while (await watch.ResponseStream.MoveNext(deadline.Token))
        {
            if (holds(watch.ResponseStream.Current))
            {
                return watch.ResponseStream.Current;
            }

            last = watch.ResponseStream.Current.ToString();
        }

        throw new InvalidOperationException($"The run ended before: {last}");
    }

    protected static async Task<Status> Fails<T>(Func<AsyncUnaryCall<T>> call) =>
        (await Should.ThrowAsync<RpcException>(async () => await call())).Status;
}

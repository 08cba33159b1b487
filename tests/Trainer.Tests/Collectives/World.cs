using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Tests.Collectives;

/// <summary>The ranks of a world in this process, each on a thread of its own.</summary>
public sealed class World : IAsyncDisposable
{
    /// <summary>No test waits longer than this for anything.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly List<PeerServer> _servers = [];

    private World(IReadOnlyList<ICollective> ranks) => Ranks = ranks;

    public IReadOnlyList<ICollective> Ranks { get; }

    public static async Task<World> CreateAsync(string kind, int size)
    {
        if (kind == "in process")
        {
            return new World(InProcessCollective.Create(size, Patience));
        }

        if (kind == "single")
        {
            return new World([new SingleRank(1)]);
        }

        // Small limits, so that small tests see pieces, rings and frames that come early.
        return await ConnectAsync(size, options => options with
        {
            DirectBytes = 1024,
            PieceBytes = 4096,
            ReadAheadBytes = 16_384,
            DirectWorld = kind == "grpc ring" ? 0 : 16,
        });
    }

    public static async Task<World> ConnectAsync(int size, Func<CollectiveOptions, CollectiveOptions>? change = null)
    {
        var servers = new List<PeerServer>();
        for (var rank = 0; rank < size; rank++)
        {
            servers.Add(await PeerServer.StartAsync());
        }

        var peers = servers.Select(server => server.Address).ToArray();
        var ranks = await Task.WhenAll(servers.Select((server, rank) => GrpcCollective.ConnectAsync(server, Options(rank))));
        var world = new World(ranks);
        world._servers.AddRange(servers);
        return world;

        CollectiveOptions Options(int rank)
        {
            var options = new CollectiveOptions { Generation = 1, Rank = rank, Peers = peers, Timeout = Patience };
            return change is null ? options : change(options);
        }
    }

    /// <summary>Runs every rank on its own thread and waits for all; the first failure is thrown.</summary>
    public async Task RunAsync(Action<ICollective> work)
    {
        var failures = await RunToEndAsync(work);
        foreach (var failure in failures)
        {
            if (failure is not null)
            {
                throw new InvalidOperationException(failure.ToString(), failure);
            }
        }
    }

    /// <summary>Runs every rank on its own thread and gives what each threw.</summary>
    public Task<Exception?[]> RunToEndAsync(Action<ICollective> work) => Task.WhenAll(Ranks.Select(rank =>
    {
        var end = new TaskCompletionSource<Exception?>(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() =>
        {
            try
            {
                work(rank);
                end.SetResult(null);
            }
            catch (Exception exception)
            {
                end.SetResult(exception);
            }
        })
        { IsBackground = true }.Start();
        return end.Task.WaitAsync(Patience);
    }));

    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(Ranks.Select(rank => rank.DisposeAsync().AsTask()));
        await Task.WhenAll(_servers.Select(server => server.DisposeAsync().AsTask()));
    }
}

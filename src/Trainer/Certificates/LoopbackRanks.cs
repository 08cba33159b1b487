using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Certificates;

/// <summary>The ranks of a world as threads of this process that speak gRPC with each other over loopback: the collectives of a real run.</summary>
internal static class LoopbackRanks
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    /// <summary>libtorch's backward pass nests deeply.</summary>
    private const int StackBytes = 16 << 20;

    /// <summary>Runs <paramref name="body"/> as every rank and returns the results in rank order.</summary>
    /// <exception cref="AggregateException">A rank failed, and with it all; the inner exception is the first failure.</exception>
    public static async Task<T[]> RunAsync<T>(int world, Func<ICollective, T> body)
    {
        if (world == 1)
            return [body(new SingleRank(generation: 1))];
        var servers = await Task.WhenAll(Enumerable.Range(0, world).Select(_ => PeerServer.StartAsync()));
        try
        {
            var peers = servers.Select(server => server.Address).ToArray();
            var ranks = await Task.WhenAll(servers.Select((server, rank) =>
                GrpcCollective.ConnectAsync(server, new CollectiveOptions { Generation = 1, Rank = rank, Peers = peers, Timeout = Patience })));
            try
            {
                return await RunAsync(ranks, body);
            }
            finally
            {
                await Task.WhenAll(ranks.Select(rank => rank.DisposeAsync().AsTask()));
            }
        }
        finally
        {
            await Task.WhenAll(servers.Select(server => server.DisposeAsync().AsTask()));
        }
    }

    private static async Task<T[]> RunAsync<T>(GrpcCollective[] ranks, Func<ICollective, T> body)
    {
        Exception? first = null;
        var ends = ranks.Select(rank =>
        {
            var end = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
            new Thread(() =>
            {
                try
                {
                    end.SetResult(body(rank));
                }
                catch (Exception e)
                {
                    Interlocked.CompareExchange(ref first, e, null);
                    rank.Abort(e.Message, rank.Rank, e);
                    end.SetException(e);
                }
            }, StackBytes)
            { IsBackground = true, Name = $"rank {rank.Rank}" }.Start();
            return end.Task;
        }).ToArray();
        try
        {
            return await Task.WhenAll(ends);
        }
        catch (Exception) when (first is not null)
        {
            throw new AggregateException(first.Message, first);
        }
    }
}

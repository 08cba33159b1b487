using DarkMatter.Protocol;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Trainer.Commands;

/// <summary>One question to a silo, with a deadline and errors for people.</summary>
internal static class SiloCall
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    // A ledger of thousands of generations.
    private const int MaxMessageBytes = 64 << 20;

    /// <summary>Asks and waits for the answer.</summary>
    /// <param name="url">The silo, as http://host:port.</param>
    /// <param name="ask">The call.</param>
    /// <exception cref="CommandException">The silo refuses, or does not answer.</exception>
    public static async Task<T> AskAsync<T>(string url, Func<Coordinator.CoordinatorClient, DateTime, AsyncUnaryCall<T>> ask)
    {
        using var channel = GrpcChannel.ForAddress(SiloAddress.Parse(url), new GrpcChannelOptions { MaxReceiveMessageSize = MaxMessageBytes });
        try
        {
            return await ask(new Coordinator.CoordinatorClient(channel), DateTime.UtcNow + Deadline);
        }
        catch (RpcException e) when (e.StatusCode is StatusCode.NotFound or StatusCode.FailedPrecondition or StatusCode.InvalidArgument or StatusCode.Unimplemented)
        {
            throw new CommandException(ExitCode.BadRequest, $"the silo at {url} says: {e.Status.Detail}", e);
        }
        catch (RpcException e)
        {
            throw new CommandException(ExitCode.LostSilo, $"the silo at {url} does not answer: {e.Status.Detail}", e);
        }
    }
}

using DarkMatter.Protocol;
using Google.Protobuf;
using Grpc.Core;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>The silo brings a generation's parts together. While it is away, reports are repeated.</summary>
/// <param name="client">The silo.</param>
/// <param name="run">The run.</param>
/// <param name="generation">The generation that writes.</param>
/// <param name="retry">How long and how often reports are repeated.</param>
public sealed class SiloCheckpoints(Coordinator.CoordinatorClient client, string run, long generation, Retry retry) : ICheckpointCoordinator
{
    /// <summary>How long one request may take.</summary>
    public static readonly TimeSpan RequestDeadline = TimeSpan.FromSeconds(10);

    /// <inheritdoc/>
    public async Task<PartsCollected> ReportPartAsync(PartReport part, CancellationToken cancellationToken)
    {
        var request = new ReportPartRequest { Run = run, Generation = generation, Step = part.Step, Rank = part.Rank, World = part.World };
        request.Parts.AddRange(part.Files.Select(file => new CheckpointPart { Name = file.Name, Bytes = file.Bytes, Sha256 = file.Sha256 }));
        var response = await AskAsync(part.Step, deadline => client.ReportPartAsync(request, deadline: deadline, cancellationToken: cancellationToken), cancellationToken);
        return new PartsCollected(response.Complete, [.. response.Parts.Select(file => new CheckpointFile(file.Name, file.Bytes, file.Sha256))]);
    }

    /// <inheritdoc/>
    public async Task<bool> PublishAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken)
    {
        var request = new PublishCheckpointRequest
        {
            Run = run,
            Generation = generation,
            Step = checkpoint.Step,
            Path = checkpoint.Path,
            ManifestSha256 = ByteString.CopyFrom(checkpoint.ManifestSha256),
        };
        try
        {
            await AskAsync(checkpoint.Step, deadline => client.PublishCheckpointAsync(request, deadline: deadline, cancellationToken: cancellationToken), cancellationToken);
            return true;
        }
        catch (CheckpointException e) when (e.InnerException is RpcException { StatusCode: StatusCode.Aborted })
        {
            return false;
        }
    }

    private async Task<T> AskAsync<T>(long step, Func<DateTime, AsyncUnaryCall<T>> ask, CancellationToken cancellationToken)
    {
        try
        {
            return await retry.RunAsync(async () => await ask(DateTime.UtcNow + RequestDeadline), IsTransient, cancellationToken);
        }
        catch (RpcException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new CheckpointException($"checkpoint of step {step}, generation {generation}: it lies in the store, but the silo did not take it in: {e.Status.StatusCode}, {e.Status.Detail}", e);
        }
    }

    private static bool IsTransient(Exception e) =>
        e is RpcException { StatusCode: StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.Cancelled or StatusCode.Internal or StatusCode.Unknown };
}

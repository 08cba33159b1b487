namespace DarkMatter.Trainer.Checkpoints;

/// <summary>One rank's files of a checkpoint, which lie whole in the store.</summary>
/// <param name="Step">Updates applied.</param>
/// <param name="Rank">Who wrote them.</param>
/// <param name="World">Parts come from this many ranks.</param>
/// <param name="Files">What it wrote.</param>
public sealed record PartReport(long Step, int Rank, int World, IReadOnlyList<CheckpointFile> Files);

/// <summary>What became of a report.</summary>
/// <param name="Complete">Every rank's part is there: whoever is told so writes the manifest and publishes.</param>
/// <param name="Files">The files of all ranks, in rank order, when complete; else none.</param>
public sealed record PartsCollected(bool Complete, IReadOnlyList<CheckpointFile> Files);

/// <summary>A checkpoint that became visible.</summary>
/// <param name="Step">Updates applied.</param>
/// <param name="Path">Where it lies: a folder or a URL.</param>
/// <param name="ManifestSha256">SHA-256 of its manifest.</param>
public sealed record PublishedCheckpoint(long Step, string Path, byte[] ManifestSha256);

/// <summary>Brings the parts of a checkpoint together and keeps record of what is published. One per generation; calls come from background threads.</summary>
public interface ICheckpointCoordinator
{
    /// <summary>Reports one rank's part. Reporting the same again gives the same answer.</summary>
    /// <exception cref="CheckpointException">The part is refused, or the record cannot be reached in time.</exception>
    Task<PartsCollected> ReportPartAsync(PartReport part, CancellationToken cancellationToken);

    /// <summary>Makes a visible checkpoint the run's newest; durable when it returns.</summary>
    /// <returns>False when the run has left the branch that the checkpoint is of; it must disappear then.</returns>
    /// <exception cref="CheckpointException">The record cannot be reached in time.</exception>
    Task<bool> PublishAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken);
}

/// <summary>Coordinates a world of one: every part completes its checkpoint.</summary>
/// <param name="published">Told of each published checkpoint.</param>
public sealed class SoloCheckpoints(Func<PublishedCheckpoint, CancellationToken, Task> published) : ICheckpointCoordinator
{
    /// <inheritdoc/>
    public Task<PartsCollected> ReportPartAsync(PartReport part, CancellationToken cancellationToken) =>
        Task.FromResult(new PartsCollected(Complete: true, part.Files));

    /// <inheritdoc/>
    public async Task<bool> PublishAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken)
    {
        await published(checkpoint, cancellationToken);
        return true;
    }
}

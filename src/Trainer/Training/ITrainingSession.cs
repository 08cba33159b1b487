namespace DarkMatter.Trainer.Training;

/// <summary>
/// All the training loop knows of the world outside: where its reports go and whether it should stop. Calls come from the training
/// thread and must not wait for a network; the session queues what it sends.
/// </summary>
public interface ITrainingSession
{
    /// <summary>
    /// True once this run should end at the next step boundary (drain, stop, Ctrl-C). Rank 0's answer counts for all ranks, so that
    /// they stop at the same step, with a checkpoint.
    /// </summary>
    bool StopRequested { get; }

    /// <summary>The total number of steps was fixed from the measured rate; called once, on rank 0.</summary>
    void StepsPlanned(long totalSteps);

    /// <summary>One optimizer update was applied on this rank.</summary>
    void StepApplied(StepReport report);

    /// <summary>A checkpoint lies whole and verified on disk; called on rank 0 from the checkpoint writer's thread.</summary>
    Task PublishCheckpointAsync(CheckpointReport checkpoint, CancellationToken cancellationToken);

    /// <summary>Something a person may want to read: precision chosen, sample quarantined, checkpoint slow.</summary>
    void Note(string message);
}

/// <summary>What one step did.</summary>
public sealed record StepReport
{
    /// <summary>Optimizer updates applied so far, this one included.</summary>
    public required long Step { get; init; }

    /// <summary>The steps of the run as known now; they can become fewer once, when the rate was measured.</summary>
    public required long TotalSteps { get; init; }

    /// <summary>The loss of the global batch, before the update.</summary>
    public required double Loss { get; init; }

    /// <summary>The learning rate used.</summary>
    public required double LearningRate { get; init; }

    /// <summary>From the end of the last step to the end of this one.</summary>
    public required TimeSpan Elapsed { get; init; }

    /// <summary>Images of the global batch per second, over <see cref="Elapsed"/>.</summary>
    public required double ImagesPerSecond { get; init; }

    /// <summary>Time this step waited for the next batch.</summary>
    public required TimeSpan DataWait { get; init; }

    /// <summary>Time this step waited for other ranks with nothing to compute.</summary>
    public required TimeSpan ExposedCommunication { get; init; }

    /// <summary>Mean over dimensions of the standard deviation of unit embeddings: healthy near 1/√d, collapsed 0.</summary>
    public required double EmbeddingStd { get; init; }

    /// <summary>Keys of this rank's samples in the order they were used.</summary>
    public required IReadOnlyList<string> Keys { get; init; }

    /// <summary>Hash of parameters, buffers and optimizer memory after this step; null on steps that do not compare it.</summary>
    public ulong? StateHash { get; init; }
}

/// <summary>A checkpoint that is complete.</summary>
/// <param name="Step">Updates applied.</param>
/// <param name="Path">Its folder.</param>
/// <param name="ManifestSha256">Of its manifest.json: 32 bytes.</param>
public sealed record CheckpointReport(long Step, string Path, ReadOnlyMemory<byte> ManifestSha256);

using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Checkpoints;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// All the training loop knows of the world outside: where its reports go and whether it should stop. Calls come from the training
/// thread and must not wait for a network; the session queues what it sends.
/// </summary>
public interface ITrainingSession
{
    /// <summary>
    /// True once the run should end at the next step boundary. One rank's answer counts for all, so that they stop at the same step,
    /// with a checkpoint.
    /// </summary>
    bool StopRequested { get; }

    /// <summary>
    /// True once this rank is to leave the generation at the next step boundary: another begins, or it waits, or it was drained. All ranks
    /// leave at the same step and keep their state.
    /// </summary>
    bool YieldRequested => false;

    /// <summary>True if a checkpoint is wanted when the ranks leave.</summary>
    bool CheckpointRequested => false;

    /// <summary>Takes what banks write; null: nobody wants it.</summary>
    IBankFeed? Banks => null;

    /// <summary>All ranks hold the same verified state, and the first step is about to be made; called on every rank.</summary>
    void GenerationBegan(GenerationReport report)
    {
        // A session that only counts steps has nothing to say.
    }

    /// <summary>The total number of steps was fixed from the measured rate; called once, on rank 0.</summary>
    void StepsPlanned(long totalSteps);

    /// <summary>One optimizer update was applied on this rank.</summary>
    void StepApplied(StepReport report);

    /// <summary>Embeddings have collapsed for good: the run is to pause or to stop. Called on rank 0.</summary>
    /// <param name="action">What the recipe asks for.</param>
    /// <param name="reason">Step, cause and remedy, for people.</param>
    void Collapsed(Evaluation.CollapseAction action, string reason) => Note(reason);

    /// <summary>Brings the ranks' parts of a generation's checkpoints together. Null: rank 0 writes them whole.</summary>
    ICheckpointCoordinator? CheckpointCoordinator(long generation) => null;

    /// <summary>A checkpoint that rank 0 wrote whole is visible; called from the checkpoint writer's thread.</summary>
    Task PublishCheckpointAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken);

    /// <summary>Something a person may want to read: precision chosen, sample quarantined, checkpoint slow.</summary>
    void Note(string message);
}

/// <summary>How a generation began.</summary>
public sealed record GenerationReport
{
    /// <summary>Its number.</summary>
    public required long Generation { get; init; }

    /// <summary>Updates applied in the state that all ranks hold.</summary>
    public required long StartStep { get; init; }

    /// <summary>The steps of the run as known now.</summary>
    public required long TotalSteps { get; init; }

    /// <summary>That state's <see cref="Training.StateHash"/>.</summary>
    public required ulong StateHash { get; init; }

    /// <summary>Where it came from, for people: <c>memory of generation 7</c>, <c>checkpoint 500</c>, <c>fresh</c>.</summary>
    public required string Source { get; init; }

    /// <summary>The ranks that copied it from others.</summary>
    public required IReadOnlyList<int> Healed { get; init; }

    /// <summary>Bytes they copied, together.</summary>
    public required long HealedBytes { get; init; }

    /// <summary>From the first word between the ranks until all hashes were the same.</summary>
    public required TimeSpan HealTime { get; init; }

    /// <summary>Which generations made that state's steps, of which images.</summary>
    public required IReadOnlyList<StateSegment> Lineage { get; init; }
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

    /// <summary>Time this rank itself computed: of <see cref="Elapsed"/> what was spent neither on data nor on others.</summary>
    public TimeSpan Compute => Elapsed - DataWait - ExposedCommunication is { } own && own > TimeSpan.Zero ? own : TimeSpan.Zero;

    /// <summary>The wrapping sum of the digests of all images that all ranks used since the generation began.</summary>
    public required ulong SamplesDigest { get; init; }

    /// <summary>Keys of this rank's samples in the order they were used.</summary>
    public required IReadOnlyList<string> Keys { get; init; }

    /// <summary>Hash of parameters, buffers and optimizer memory after this step; null on steps that do not compare it.</summary>
    public ulong? StateHash { get; init; }

    /// <summary>What the look at the embeddings found; null on steps without one, and on ranks but the first.</summary>
    public Evaluation.CollapseReport? Health { get; init; }
}

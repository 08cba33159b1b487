using System.Buffers;
using System.Collections.Immutable;
using DarkMatter.Grains;
using DarkMatter.Trainer.Checkpoints;

namespace DarkMatter.Trainer.Tests.Checkpoints;

/// <summary>Writes checkpoints piece by piece, as the ranks of a generation do, and stops where a test wants.</summary>
internal static class Attempts
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>The parts of all ranks, whose contents tell who wrote them.</summary>
    public static async Task<CheckpointManifest> WritePartsAsync(this CheckpointStore store, long step, long generation = 1, int world = 2, string writer = "")
    {
        var files = new List<CheckpointFile>();
        for (var rank = 0; rank < world; rank++)
        {
            files.Add(await store.WriteAsync(step, CheckpointKind.Model, rank, world, Bytes($"model {rank} {generation} {writer}"), Token));
            files.Add(await store.WriteAsync(step, CheckpointKind.Optimizer, rank, world, Bytes($"optimizer {rank} {generation} {writer}"), Token));
        }

        files.Add(await store.WriteAsync(step, CheckpointKind.Recipe, 0, world, Bytes("name: test\n"), Token));
        return new CheckpointManifest
        {
            Format = CheckpointManifest.CurrentFormat,
            Progress = Progress(step),
            Files = files,
            Versions = new Dictionary<string, string> { ["writer"] = writer },
            Generation = generation,
            World = world,
        };
    }

    /// <summary>A whole checkpoint.</summary>
    public static async Task<PublishedCheckpoint> PublishWholeAsync(this CheckpointStore store, long step, long generation = 1, int world = 2, string writer = "") =>
        await store.PublishAsync(await store.WritePartsAsync(step, generation, world, writer), Token);

    public static async Task<IReadOnlyList<long>> StepsAsync(this CheckpointStore store) => [.. (await store.ListAsync(Token)).Select(c => c.Step)];

    public static TrainingProgress Progress(long step) => new()
    {
        Run = "test",
        Step = step,
        TotalSteps = 1000,
        Planned = true,
        TrainedSeconds = 1,
        GlobalBatch = 12,
        LanePositions = [step],
        Seed = 0,
        RandomState = "",
        Method = "simclr",
    };

    public static ReadOnlySequence<byte> Bytes(string text) => new(System.Text.Encoding.UTF8.GetBytes(text));
}

/// <summary>The silo's rules in memory: parts of all ranks come together, and a ledger takes in what is published.</summary>
internal sealed class MemoryCoordinator(long generation) : ICheckpointCoordinator
{
    private readonly Lock _gate = new();
    private ImmutableArray<PartCollection> _collections = [];

    public List<PublishedCheckpoint> Published { get; } = [];

    /// <summary>What the ledger says to a publication.</summary>
    public Func<PublishedCheckpoint, bool> Accept { get; set; } = _ => true;

    public Task<PartsCollected> ReportPartAsync(PartReport part, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            (_collections, var answer) = CheckpointParts.Add(_collections, new CheckpointPartReport
            {
                Generation = generation,
                Step = part.Step,
                Rank = part.Rank,
                World = part.World,
                Files = [.. part.Files.Select(f => new CheckpointFileRecord { Name = f.Name, Bytes = f.Bytes, Sha256 = f.Sha256 })],
            });
            answer.Refusal.ShouldBe(Refusal.None, answer.Message);
            return Task.FromResult(new PartsCollected(answer.Complete, [.. answer.Files.Select(f => new CheckpointFile(f.Name, f.Bytes, f.Sha256))]));
        }
    }

    public Task<bool> PublishAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            Published.Add(checkpoint);
            return Task.FromResult(Accept(checkpoint));
        }
    }
}

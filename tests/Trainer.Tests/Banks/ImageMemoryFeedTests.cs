using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Tests.Banks;

/// <summary>A memory of several partitions, as PIRL's, from the feeds of two trainers through the silo to a reader.</summary>
[Collection(TorchCollection.Name)]
public sealed class ImageMemoryFeedTests
{
    private const int Images = 150_000, D = 128, Batch = 48, Lanes = 6;

    /// <summary>Images that nobody ever shows: seeds leave them out.</summary>
    private const int Unseen = 70_000, Seen = 100_000;

    private static readonly TrainOptions Options = TrainingRunTests.Options with
    {
        GlobalBatch = Batch,
        LaneCount = Lanes,
        ImageSize = 24,
        DatasetImages = Images,
        Method = new PirlOptions { Negatives = 8, ProjectorOutput = D },
    };

    [Fact]
    public async Task RandomAndRepeatedImages_ThroughGenerationsAndARestartOfTheSilo_AreTheReadersRows()
    {
        await using var silo = await BankSilo.StartAsync();
        await using var one = new FedTrainer(Options, silo.Client);
        await using var other = new FedTrainer(Options, silo.Client);
        var reader = new BankReader(silo.Client, BankSilo.Run, "memory");

        await BeginAsync(silo, one, other);
        Train(20, one, other);
        await ShouldHaveAsync(reader, other.Memory);
        (reader.RowBytes, reader.Rows.Length).ShouldBe((D * 4, Images * D * 4));
        Train(5, one, other);
        await ShouldHaveAsync(reader, one.Memory);
        reader.Received.ShouldBeInRange(1, 5 * Batch, "only what changed");

        await silo.RestartAsync();
        Train(5, one, other);
        await ShouldHaveAsync(reader, one.Memory);
        await BeginAsync(silo, other, one);
        Train(5, one, other);
        await ShouldHaveAsync(reader, one.Memory);
        await reader.ReadAsync(TimeSpan.FromSeconds(30), CancellationToken.None);
        reader.Received.ShouldBe(0, "nothing changed since");
        one.Memory.Hash().ShouldBe(other.Memory.Hash());
    }

    private static async Task BeginAsync(BankSilo silo, params FedTrainer[] trainers)
    {
        var ranks = InProcessCollective.Create(trainers.Length, generation: await silo.NextGenerationAsync());
        foreach (var (rank, trainer) in trainers.Index())
            trainer.Begin(ranks[rank], rank * Lanes / trainers.Length, Lanes / trainers.Length);
    }

    private static void Train(int steps, params FedTrainer[] trainers)
    {
        for (var i = 0; i < steps; i++)
        {
            using var scope = NewDisposeScope();
            var step = trainers[0].Memory.Updates + 1;
            var random = new Random((int)step);
            long[] images = [.. Enumerable.Range(0, Batch).Select(_ => Number(random))];
            images[^1] = images[0];                                               // in the first lane and in the last: the last counts
            images[^2] = images[^3];                                              // and twice in one lane
            var rows = normalize(randn(Batch, D), dim: 1);
            foreach (var trainer in trainers)
                trainer.Write(new ImageRows(images, rows.clone()));
        }
    }

    private static long Number(Random random) => random.Next(Images) is var image && image is >= Unseen and < Seen ? image - Unseen : image;

    private static async Task ShouldHaveAsync(BankReader reader, ImageMemory memory)
    {
        await reader.UntilAsync(step => step == memory.Updates);
        reader.Rows.AsSpan().SequenceEqual(memory.Snapshot(0, Images).Rows).ShouldBeTrue($"rows of step {reader.Step}");
    }
}

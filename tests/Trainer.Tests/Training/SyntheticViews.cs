using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Training;

/// <summary>Images made from (lane, position) alone: stripes whose direction and colour depend on the image, noise that depends on the view.</summary>
public sealed class SyntheticViews(TrainOptions options, long startStep) : IViewSource
{
    private long _step = startStep;

    public bool Disposed { get; private set; }

    /// <summary>What an image counts for.</summary>
    public static ulong DigestOf(int lane, long position) => (((ulong)lane << 40) + (ulong)position + 1) * 0x9E3779B97F4A7C15;

    public ValueTask<IViewBatch> ReadAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ValueTask.FromResult<IViewBatch>(new Batch(options, _step++));
    }

    public ValueTask DisposeAsync()
    {
        Disposed = true;
        return ValueTask.CompletedTask;
    }

    private sealed class Batch(TrainOptions options, long step) : IViewBatch
    {
        public long Step => step;

        public int Count => options.RankBatch;

        public IReadOnlyList<string> Keys { get; } = [.. Samples(options, step).Select(s => $"{s.Lane}/{s.Position}")];

        public IReadOnlyList<long> Numbers { get; } =
            [.. Samples(options, step).Select(s => ((s.Lane * 1_000_003) + s.Position) % Math.Max(1, options.DatasetImages))];

        public ulong Digest { get; } = Samples(options, step).Aggregate(0ul, (sum, s) => sum + DigestOf(s.Lane, s.Position));

        public Memory<byte> View(int view)
        {
            var size = options.ImageSize;
            var bytes = new List<byte>();
            foreach (var (lane, position) in Samples(options, step))
            {
                var (kind, noise) = (HashCode(lane, position) % 16, new Random(HashCode(lane, position, view)));
                for (var y = 0; y < size; y++)
                {
                    for (var x = 0; x < size; x++)
                    {
                        for (var c = 0; c < 3; c++)
                        {
                            var wave = Math.Sin(((kind % 4 * x) + (kind / 4 * y) + c) * 0.7);
                            bytes.Add((byte)Math.Clamp(128 + (80 * wave) + (30 * (noise.NextDouble() - 0.5)), 0, 255));
                        }
                    }
                }
            }

            return bytes.ToArray();
        }

        public void Dispose()
        {
        }

        private static IEnumerable<(int Lane, long Position)> Samples(TrainOptions options, long step) =>
            from lane in Enumerable.Range(options.FirstLane, options.Lanes)
            from i in Enumerable.Range(0, options.ImagesPerLane)
            select (lane, (step * options.ImagesPerLane) + i);

        private static int HashCode(params ReadOnlySpan<long> parts)
        {
            ulong hash = 17;
            foreach (var part in parts)
                hash = (hash ^ (ulong)part) * 0x9E3779B97F4A7C15;
            return (int)(hash >> 40);
        }
    }
}

/// <summary>Keeps what training reports.</summary>
public sealed class RecordedSession : ITrainingSession
{
    public List<StepReport> Steps { get; } = [];

    public List<PublishedCheckpoint> Checkpoints { get; } = [];

    public List<string> Notes { get; } = [];

    public long? Planned { get; private set; }

    public long StopAfter { get; init; } = long.MaxValue;

    public bool StopRequested => Steps.Count >= StopAfter;

    public void StepsPlanned(long totalSteps) => Planned = totalSteps;

    public void StepApplied(StepReport report) => Steps.Add(report);

    public Task PublishCheckpointAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken)
    {
        Checkpoints.Add(checkpoint);
        return Task.CompletedTask;
    }

    public void Note(string message) => Notes.Add(message);
}

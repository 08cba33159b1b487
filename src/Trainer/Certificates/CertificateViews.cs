using DarkMatter.Data;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Certificates;

/// <summary>
/// Batches of images that are made from (lane, position, view) alone: a wave whose direction and colour depend on the image; light, contrast, phase
/// and noise depend on the view. Any number of ranks sees the same global batch.
/// </summary>
/// <param name="options">The rank's lanes and the sizes of views.</param>
/// <param name="updates">Whose batches come, in this order; another draw of an update is of the same numbers and positions, with other pixels.</param>
internal sealed class CertificateViews(TrainOptions options, IReadOnlyList<UpdateKey> updates) : IViewSource
{
    private int _next;

    public ValueTask<IViewBatch> ReadAsync(CancellationToken cancellationToken) => ValueTask.FromResult<IViewBatch>(new Batch(options, updates[_next++]));

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private sealed class Batch(TrainOptions options, UpdateKey update) : IViewBatch
    {
        private readonly (int Lane, long Position)[] _samples =
        [
            .. from lane in Enumerable.Range(options.FirstLane, options.Lanes)
               from i in Enumerable.Range(0, options.ImagesPerLane)
               select (lane, ((long)update.Step * options.ImagesPerLane) + i),
        ];

        public long Step => update.Step;

        public int Count => _samples.Length;

        public IReadOnlyList<string> Keys => [.. _samples.Select(s => $"{s.Lane}/{s.Position}")];

        public IReadOnlyList<long> Numbers =>
            [.. _samples.Select(s => ((s.Position * options.LaneCount) + s.Lane) % options.DatasetImages)];

        public ulong Digest => _samples.Aggregate(0ul, (sum, s) => sum + new KeyedRandom(1).With(s.Lane).With(s.Position).Key);

        public Memory<byte> View(int view)
        {
            var size = options.ViewSizes[view];
            var bytes = new byte[_samples.Length * size * size * 3];
            foreach (var (row, (lane, position)) in _samples.Index())
                Draw(bytes.AsSpan(row * size * size * 3, size * size * 3), size, new KeyedRandom(2 + (ulong)update.Draw).With(lane).With(position).Key, view);
            return bytes;
        }

        public void Dispose()
        {
            // Nothing is lent out.
        }

        private static void Draw(Span<byte> pixels, int size, ulong image, int view)
        {
            var (across, down) = (0.2 + ((image & 7) * 0.15), 0.2 + (((image >> 3) & 7) * 0.15));
            // Views that hardly differ would leave of 1 − cos little but rounding.
            var random = new Random((int)(image >> 33) ^ (view * 7919));
            var (phase, contrast, light) = (3 * random.NextDouble(), 20 + (80 * random.NextDouble()), 88 + (80 * random.NextDouble()));
            for (var i = 0; i < pixels.Length; i++)
            {
                var (y, x, c) = (i / (3 * size), i / 3 % size, i % 3);
                var wave = Math.Sin((across * x) + (down * y) + (c * (double)((image >> 6) & 3)) + phase);
                pixels[i] = (byte)Math.Clamp(light + (contrast * wave) + (90 * (random.NextDouble() - 0.5)), 0, 255);
            }
        }
    }
}

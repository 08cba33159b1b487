using System.Globalization;

namespace DarkMatter.Data;

/// <summary>Images with their classes, decoded and ready for evaluation.</summary>
public sealed class LabeledImages
{
    private readonly string[] _keys;

    private LabeledImages(byte[] images, int[] labels, string[] keys, int size)
    {
        Images = images;
        Labels = labels;
        _keys = keys;
        Size = size;
    }

    /// <summary>uint8 [Count, Size, Size, 3], RGB.</summary>
    public byte[] Images { get; }

    /// <summary>The class of each image, from its <c>.cls</c> member.</summary>
    public int[] Labels { get; }

    /// <summary>The samples' keys, in the order of the catalog.</summary>
    public IReadOnlyList<string> Keys => _keys;

    /// <summary>Height and width, pixels.</summary>
    public int Size { get; }

    /// <summary>The number of images.</summary>
    public int Count => Labels.Length;

    /// <summary>
    /// Loads the first images of a dataset in catalog order: the largest centred square, resized (torchvision's
    /// <c>Resize(size)</c> and <c>CenterCrop(size)</c>). Broken images are an error here: evaluation must not silently change its set.
    /// </summary>
    /// <param name="datasetPath">The dataset folder.</param>
    /// <param name="size">Height and width, pixels.</param>
    /// <param name="limit">The most images; 0 loads all.</param>
    /// <param name="cancellation">Ends the load.</param>
    /// <exception cref="DatasetException">The dataset is missing or damaged, an image is broken, or a sample has no class.</exception>
    public static LabeledImages Load(string datasetPath, int size, int limit = 0, CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        ArgumentOutOfRangeException.ThrowIfNegative(limit);
        using var dataset = Dataset.Open(datasetPath);
        var catalog = dataset.Catalog;
        var count = checked((int)(limit == 0 ? catalog.SampleCount : Math.Min(limit, catalog.SampleCount)));
        var loaded = new LabeledImages(new byte[(long)count * size * size * 3], new int[count], new string[count], size);
        var shards = Enumerable.Range(0, catalog.Shards.Count).Where(shard => catalog.SampleNumber(new SampleAddress(shard, 0)) < count);
        try
        {
            var options = new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = cancellation };
            Parallel.ForEach(shards, options, shard => loaded.ReadShard(dataset, shard, cancellation));
        }
        catch (AggregateException failures)
        {
            // The first shard's failure, so that the same damage gives the same message.
            var first = failures.InnerExceptions.OfType<DatasetException>().MinBy(failure => failure.Where, StringComparer.Ordinal);
            if (first is null)
                throw;
            throw new DatasetException(first.What, first.Where, first.Remedy, failures);
        }

        return loaded;
    }

    private void ReadShard(Dataset dataset, int shard, CancellationToken cancellation)
    {
        var start = (int)dataset.Catalog.SampleNumber(new SampleAddress(shard, 0));
        var count = Math.Min(dataset.Catalog.ShardCounts[shard], Count - start);
        var where = dataset.Catalog.Shards[shard].Tar;
        var index = dataset.IndexAsync(shard, cancellation).AsTask().GetAwaiter().GetResult();
        var recipe = new ViewRecipe { Size = Size };
        var renderer = new ViewRenderer();
        var buffer = new ByteBuffer();
        var imageBytes = Size * Size * 3;
        using var codec = new ImageCodec();
        for (var sample = 0; sample < count; sample++)
        {
            cancellation.ThrowIfCancellationRequested();
            var key = index.Key(sample);
            _keys[start + sample] = key;
            var label = index.Find(sample, "cls")
                ?? throw new DatasetException($"sample '{key}' has no .cls member, so its class is unknown", where,
                    "Evaluate on a labelled dataset, or pack it with labels.");
            var text = Read(label).Trim((byte)' ').TrimEnd("\r\n\0"u8);
            if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out Labels[start + sample]))
            {
                throw new DatasetException($"the .cls member of sample '{key}' is no number from 0 on", where,
                    "Pack the dataset again with whole numbers as labels.");
            }

            try
            {
                var image = codec.Decode(Read(index.Image(sample)));
                var side = Math.Min(image.Region.Width, image.Region.Height);
                var square = new PixelRegion((image.Region.Width - side) / 2, (image.Region.Height - side) / 2, side, side);
                renderer.Render(image, ViewParameters.Plain(square), recipe, Images.AsSpan((start + sample) * imageBytes, imageBytes));
            }
            catch (BrokenImageException broken)
            {
                throw new DatasetException($"sample '{key}' is broken ({broken.Message})", where,
                    "Pack the dataset again: packing leaves broken images out.", broken);
            }
        }

        ReadOnlySpan<byte> Read(ShardMember member) => dataset.ReadAsync(shard, member, buffer, cancellation).AsTask().GetAwaiter().GetResult().Span;
    }
}

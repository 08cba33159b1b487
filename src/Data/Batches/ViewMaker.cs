namespace DarkMatter.Data;

/// <summary>One worker's tools: reads a sample, decodes what its views need, and renders them. One thread at a time.</summary>
internal sealed class ViewMaker(Dataset dataset, DecodedCache? cache, long seed, IReadOnlyList<ViewRecipe> views) : IDisposable
{
    /// <summary>A scaled decode leaves at least so many pixels for one of the view, so the resize still sees what it would average.</summary>
    private const int LeastReduction = 2;

    private readonly ImageCodec _codec = new();
    private readonly ViewRenderer _renderer = new();
    private readonly ByteBuffer _file = new();

    /// <summary>
    /// Renders all views of a sample. The dice are those of <paramref name="planned"/>, also when another sample replaces it.
    /// </summary>
    /// <returns>The key of the sample whose pixels were used.</returns>
    /// <exception cref="BrokenImageException">The image cannot be decoded.</exception>
    /// <exception cref="DatasetException">The shard or its index is missing or damaged.</exception>
    public string Make(SampleAddress sample, SampleAddress planned, long epoch, PretrainBatch batch, int row, CancellationToken cancellation)
    {
        var number = dataset.Catalog.SampleNumber(sample);
        Span<ViewParameters> parameters = stackalloc ViewParameters[views.Count];
        if (cache is not null && cache.TryGet(number, out var cached, out var cachedKey))
        {
            Draw(parameters, planned, epoch, cached.Region.Width, cached.Region.Height);
            Render(cached, parameters, batch, row);
            return cachedKey;
        }

        var index = Wait(dataset.IndexAsync(sample.Shard, cancellation));
        var key = index.Key(sample.Sample);
        var file = Wait(dataset.ReadAsync(sample.Shard, index.Image(sample.Sample), _file, cancellation)).Span;
        var info = _codec.Probe(file);
        Draw(parameters, planned, epoch, info.Width, info.Height);
        if (DecodedCache.Suits(info))
        {
            // Whole also where nothing is cached: the bytes must not depend on what the cache has room for.
            var whole = _codec.Decode(file);
            cache?.Add(number, key, whole);
            Render(whole, parameters, batch, row);
        }
        else
        {
            // One decode serves all views: the codecs spend most time on what lies before a crop anyway.
            var region = parameters[0].Crop;
            foreach (ref readonly var view in parameters[1..])
                region = region.Union(view.Crop);
            Render(_codec.Decode(file, region, Denominator(info.Format, parameters)), parameters, batch, row);
        }

        return key;
    }

    /// <summary>The key of a sample.</summary>
    public string Key(SampleAddress sample, CancellationToken cancellation) => Wait(dataset.IndexAsync(sample.Shard, cancellation)).Key(sample.Sample);

    public void Dispose() => _codec.Dispose();

    private void Draw(Span<ViewParameters> parameters, SampleAddress planned, long epoch, int width, int height)
    {
        var number = dataset.Catalog.SampleNumber(planned);
        for (var view = 0; view < parameters.Length; view++)
            parameters[view] = ViewParameters.Draw(KeyedRandom.ForView(seed, epoch, number, view), views[view], width, height);
    }

    private void Render(DecodedImage image, ReadOnlySpan<ViewParameters> parameters, PretrainBatch batch, int row)
    {
        for (var view = 0; view < parameters.Length; view++)
            _renderer.Render(image, parameters[view], views[view], batch.Image(view, row));
    }

    private int Denominator(ImageFormat format, ReadOnlySpan<ViewParameters> parameters)
    {
        if (format != ImageFormat.Jpeg)
            return 1;
        var most = 8;
        for (var view = 0; view < parameters.Length; view++)
        {
            var crop = parameters[view].Crop;
            while (most > 1 && Math.Min(crop.Width, crop.Height) < LeastReduction * most * views[view].Size)
                most /= 2;
        }

        return most;
    }

    /// <summary>The workers are threads of their own, so they may block; with local files nothing does.</summary>
    private static T Wait<T>(ValueTask<T> task) => task.IsCompletedSuccessfully ? task.Result : task.AsTask().GetAwaiter().GetResult();
}

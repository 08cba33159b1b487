using DarkMatter.Data;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Recipes;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>Energies over a dataset: two views of one image, as the recipe makes them, against views of two images.</summary>
internal static class DatasetEnergies
{
    private const int Batch = 128;

    /// <summary>Pairs of different images for each matching one.</summary>
    private const int Shifts = 4;

    /// <summary>Measures both. Memory is that of one batch; the images that are paired are those that are read together.</summary>
    /// <param name="model">The method.</param>
    /// <param name="recipe">Its views; the order and augmentation of images follow from its seed.</param>
    /// <param name="folder">A packed dataset.</param>
    /// <param name="samples">Images, 2 and more; no more than the dataset has.</param>
    /// <param name="stop">Ends it.</param>
    /// <exception cref="DatasetException">The dataset is missing or damaged.</exception>
    /// <exception cref="CommandException">It has a single image.</exception>
    public static async Task<(IReadOnlyList<double> Matching, IReadOnlyList<double> Others)> MeasureAsync(
        EnergyModel model, Recipe recipe, string folder, int samples, CancellationToken stop)
    {
        var total = (int)Math.Min(samples, Catalog.Load(folder).SampleCount);
        if (total < 2)
            throw new CommandException(ExitCode.BadRequest, $"{folder}: it has {total} image; pairs that do not match need 2");
        var batch = Math.Min(Batch, total);
        await using var loader = PretrainLoader.Open(new PretrainLoaderOptions
        {
            DatasetPath = folder,
            Seed = recipe.Seed,
            LaneCount = 1,
            Lanes = [0],
            GlobalBatch = batch,
            Views = recipe.AllViews,
            BlockSize = recipe.Data.Block,
        });
        var (matching, others) = (new List<double>(), new List<double>());
        while (matching.Count + batch <= total)
        {
            using var views = await loader.ReadAsync(stop);
            using var scope = NewDisposeScope();
            var (x, y) = (Bytes(views, 0, recipe), Bytes(views, 1, recipe));
            long[] images = [.. Enumerable.Range(0, batch)];
            matching.AddRange(model.Of(x, y, images, images));
            for (var shift = 1; shift <= Math.Min(Shifts, batch - 1); shift++)
                others.AddRange(model.Of(x, y, images, [.. images.Select(i => (i + shift) % batch)]));
        }

        return (matching, others);
    }

    private static Tensor Bytes(PretrainBatch batch, int view, Recipe recipe)
    {
        var size = recipe.AllViews[view].Size;
        var bytes = empty([batch.Count, size, size, 3], dtype: ScalarType.Byte);
        batch.View(view).Span.CopyTo(bytes.bytes);
        return bytes;
    }
}

using DarkMatter.Data;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Recipes;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>Energies over a dataset: two views of one image, as the recipe makes them, against views of two images.</summary>
internal static class DatasetEnergies
{
    /// <summary>Images that are read together; those that are paired are among them.</summary>
    internal const int Batch = 128;

    /// <summary>Pairs of different images for each matching one.</summary>
    internal const int Shifts = 4;

    /// <summary>Measures both. Memory is that of one batch. An image that is alone in the last batch has a matching pair and no others.</summary>
    /// <param name="model">The method.</param>
    /// <param name="recipe">Its views; the order and augmentation of images follow from its seed.</param>
    /// <param name="folder">A packed dataset.</param>
    /// <param name="samples">Images, 2 and more: each is one matching pair. No more than the dataset has.</param>
    /// <param name="output">Gets progress.</param>
    /// <param name="stop">Ends it.</param>
    /// <exception cref="DatasetException">The dataset is missing or damaged.</exception>
    /// <exception cref="CommandException">It has a single image.</exception>
    public static async Task<(IReadOnlyList<double> Matching, IReadOnlyList<double> Others)> MeasureAsync(
        EnergyModel model, Recipe recipe, string folder, int samples, Output output, CancellationToken stop)
    {
        var total = (int)Math.Min(samples, Catalog.Load(folder).SampleCount);
        if (total < 2)
            throw new CommandException(ExitCode.BadRequest, $"{folder}: it has {total} image; pairs that do not match need 2");
        var (batch, pair) = (Math.Min(Batch, total), Views(recipe));
        await using var loader = PretrainLoader.Open(new PretrainLoaderOptions
        {
            DatasetPath = folder,
            Seed = recipe.Seed,
            LaneCount = 1,
            Lanes = [0],
            GlobalBatch = batch,
            Views = pair,
            BlockSize = recipe.Data.Block,
        });
        var progress = output.Counter("energies: images", total);
        var (matching, others) = (new List<double>(), new List<double>());
        while (matching.Count < total)
        {
            using var views = await loader.ReadAsync(stop);
            using var scope = NewDisposeScope();
            // The loader's batches are whole; of the last one, what is left is used, and the rest may be the next epoch's.
            var count = Math.Min(batch, total - matching.Count);
            var (x, y) = (Bytes(views.View(0), count, pair[0].Size), Bytes(views.View(1), count, pair[1].Size));
            long[] images = [.. Enumerable.Range(0, count)];
            for (var shift = 1; shift <= Math.Min(Shifts, count - 1); shift++)
                others.AddRange(model.Of(x, y, images, [.. images.Select(i => (i + shift) % count)], stop: stop));
            matching.AddRange(model.Of(x, y, images, images, stop: stop));
            progress.Report(matching.Count);
        }

        return (matching, others);
    }

    /// <summary>
    /// How the two views of a pair are made: as the recipe's first two. An energy is of images, so shuffled patches (PIRL's second view) are none; then both
    /// are made as the view that is left, and yet differ, for augmentation is keyed by a view's place.
    /// </summary>
    internal static IReadOnlyList<ViewRecipe> Views(Recipe recipe)
    {
        ViewRecipe[] whole = [.. recipe.AllViews.Where((_, view) => recipe.Method.GridOf(view) == 1).Take(2)];
        return [whole[0], whole[^1]];
    }

    /// <summary>A view of a batch's first images: [count, S, S, 3].</summary>
    private static Tensor Bytes(Memory<byte> view, int count, int size)
    {
        var bytes = empty([count, size, size, 3], dtype: ScalarType.Byte);
        view.Span[..(count * size * size * 3)].CopyTo(bytes.bytes);
        return bytes;
    }
}

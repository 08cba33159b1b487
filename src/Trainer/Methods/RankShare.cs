using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// Which part of the global batch this rank holds. Ranks may hold different numbers of images; rank order is batch order. Networks keep
/// this object for life: the shares are dealt anew in every generation.
/// </summary>
/// <param name="ranks">The ranks.</param>
/// <param name="counts">Images of every rank, in rank order.</param>
public sealed class RankShare(ICollective ranks, IReadOnlyList<int> counts)
{
    private int[] _offsets = Offsets(counts);

    /// <summary>The ranks.</summary>
    public ICollective Ranks { get; } = ranks;

    /// <summary>Images of every rank, in rank order.</summary>
    public IReadOnlyList<int> Counts { get; private set; } = counts;

    /// <summary>n, this rank's images.</summary>
    public int Count => Counts[Ranks.Rank];

    /// <summary>N, the images of all ranks.</summary>
    public int Total => _offsets[^1];

    /// <summary>Images of the ranks before this one.</summary>
    public int Offset => _offsets[Ranks.Rank];

    /// <summary>Numbers in the dataset of this rank's images of the step, in batch order: [n]. What remembers every image needs them.</summary>
    /// <exception cref="InvalidOperationException">The batches of this run are not numbered.</exception>
    public IReadOnlyList<long> Images =>
        _images.Count == Count ? _images : throw new InvalidOperationException($"{_images.Count} of this rank's {Count} images have a number in the dataset; a memory of every image needs them all");

    private IReadOnlyList<long> _images = [];

    /// <summary>Other shares from now on.</summary>
    public void Deal(IReadOnlyList<int> counts) => (Counts, _offsets) = (counts, Offsets(counts));

    /// <summary>The images of the next step.</summary>
    public void Show(IReadOnlyList<long> images) => _images = images;

    // Where each rank's images begin, and at the end how many there are.
    private static int[] Offsets(IReadOnlyList<int> counts)
    {
        var offsets = new int[counts.Count + 1];
        for (var rank = 0; rank < counts.Count; rank++)
            offsets[rank + 1] = offsets[rank] + counts[rank];
        return offsets;
    }
}

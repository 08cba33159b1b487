namespace DarkMatter.Data;

/// <summary>
/// Which part of a resized crop becomes which patch of a view that is cut into a grid: every cell gives one patch from a random place inside it,
/// and the patches stand in random order. Source: Noroozi and Favaro 2016 (jigsaw), as VISSL's <c>ImgPilToPatchesAndImage</c> does it for PIRL.
/// </summary>
/// <param name="key">The key of (seed, epoch, sample, view).</param>
/// <param name="recipe">Grid, gap and the view's size.</param>
internal readonly struct PatchLayout(KeyedRandom key, ViewRecipe recipe)
{
    // Far above the draws of ViewParameters, which share the key.
    private const int DrawOrder = 1 << 16, DrawPlace = 1 << 17;

    private readonly Feistel _order = new((ulong)key.Bits(DrawOrder), recipe.Grid * recipe.Grid);

    /// <summary>Height and width of a patch, pixels.</summary>
    public int Patch { get; } = recipe.Size / recipe.Grid;

    /// <summary>Height and width of what the crop is resized to before it is cut, pixels.</summary>
    public int Sheet { get; } = recipe.Size + (recipe.Grid * recipe.GridGap);

    /// <summary>Left and top of the patch that stands at <paramref name="place"/> of the view (rows first), in the resized crop.</summary>
    public (int X, int Y) Source(int place)
    {
        var cell = (int)_order[place];
        var (row, column) = Math.DivRem(cell, recipe.Grid);
        return (Inside(column, 2 * cell), Inside(row, (2 * cell) + 1));
    }

    /// <summary>The key of a patch's own colours and flip.</summary>
    public KeyedRandom Key(int place) => key.With(place);

    private int Inside(int cell, int draw) => (cell * (Patch + recipe.GridGap)) + (recipe.GridGap == 0 ? 0 : key.Below(DrawPlace + draw, recipe.GridGap));
}

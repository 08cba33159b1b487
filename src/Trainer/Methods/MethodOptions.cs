using System.Globalization;
using DarkMatter.Trainer.Models;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// The options of one method: section <c>method</c> of a recipe. A record of this kind is all it takes for recipes to know a method: see
/// <see cref="MethodRegistry"/>.
/// </summary>
public abstract record MethodOptions
{
    /// <summary>The method as recipes spell it.</summary>
    public abstract string Name { get; }

    /// <summary>The part of the network that remains when training is done, evaluated and exported: a backbone's name in checkpoints.</summary>
    public virtual string ExportedPart => "backbone";

    /// <summary>How many views of an image it compares.</summary>
    public virtual (int Least, int Most) Views => (2, 2);

    /// <summary>Whether the views may have different sizes (multi-crop).</summary>
    public virtual bool MixesSizes => false;

    /// <summary>How many patches a side a view is cut into (<c>views.grid</c>); 1 is the image as it is.</summary>
    /// <param name="view">Counted from 0.</param>
    public virtual int GridOf(int view) => 1;

    /// <summary>Sizes of an image's views, as small as tests want them: height and width of each, in pixels.</summary>
    public virtual IReadOnlyList<int> SmallestViews => [16, 16];

    /// <summary>Asks for every option by its key, with its range and this record's value as default. The one place that names them.</summary>
    public abstract MethodOptions Read(IOptionReader given);

    /// <summary>Builds the method's networks from torch's current random state.</summary>
    /// <exception cref="ArgumentException">Options, views or batch do not fit the method; the message says why.</exception>
    public abstract IMethod Create(MethodSetup setup);

    /// <summary>Why views of these sizes do not suit the method; null where they do.</summary>
    /// <param name="sizes">Of every view of an image, in pixels, in order.</param>
    public virtual string? ViewProblem(IReadOnlyList<int> sizes)
    {
        if (sizes.Count < Views.Least || sizes.Count > Views.Most)
            return $"views makes {sizes.Count} views of an image, but {Name} compares {(Views.Least == Views.Most ? $"exactly {Views.Least}" : $"{Views.Least} to {Views.Most}")}; set count in the sections of views";
        return MixesSizes || sizes.Distinct().Count() == 1 ? null : $"the views have different sizes, but {Name} needs one size for all";
    }

    /// <summary>
    /// How long embeddings are about the mean of all, as the loss wants them, where it sees places: moving all embeddings together changes nothing
    /// then. The watch takes the mean off first. Null where the loss sees directions.
    /// </summary>
    public virtual double? Radius => null;

    /// <summary>Losses at which training stands still that learns nothing, or has collapsed: what the collapse watch looks for.</summary>
    /// <param name="batch">N, images of the global batch.</param>
    public virtual IReadOnlyList<Plateau> Plateaus(int batch) => [];

    /// <summary>Everything that is wrong with these options; empty when nothing is.</summary>
    public virtual IEnumerable<string> Problems()
    {
        var check = new RangeCheck();
        Read(check);
        return check.Problems;
    }

    /// <summary>Answers with the defaults it is asked with, and notes those that are out of range.</summary>
    private sealed class RangeCheck : IOptionReader
    {
        public List<string> Problems { get; } = [];

        public double Real(string key, double value, double min, double max, bool aboveMin)
        {
            if (!(value >= min && value <= max) || (aboveMin && value == min))
                Problems.Add(string.Create(CultureInfo.InvariantCulture, $"method.{key}: {value} is outside {(aboveMin ? '(' : '[')}{min}, {max}]"));
            return value;
        }

        public int Count(string key, int value, int min, int max) => (int)Whole(key, value, min, max);

        public long Whole(string key, long value, long min, long max)
        {
            if (value < min || value > max)
                Problems.Add($"method.{key}: {value} is outside {min}..{max}");
            return value;
        }

        public bool Switch(string key, bool value) => value;
    }
}

/// <summary>Gives options their values: from a recipe, or from nothing but the defaults.</summary>
public interface IOptionReader
{
    /// <summary>A real number from <paramref name="min"/> to <paramref name="max"/>; more than min where <paramref name="aboveMin"/>.</summary>
    double Real(string key, double value, double min, double max, bool aboveMin = false);

    /// <summary>A whole number that fits an <see cref="int"/>.</summary>
    int Count(string key, int value, int min, int max);

    /// <summary>A whole number.</summary>
    long Whole(string key, long value, long min, long max);

    /// <summary>true or false.</summary>
    bool Switch(string key, bool value);
}

/// <summary>What every method is built with.</summary>
/// <param name="Model">The backbone.</param>
/// <param name="Norm">What normalisation layers are made with.</param>
/// <param name="Share">This rank's part of the global batch.</param>
/// <param name="ViewSizes">Height and width of each view of an image, in order, in pixels.</param>
public sealed record MethodSetup(BackboneOptions Model, Normalization Norm, RankShare Share, IReadOnlyList<int> ViewSizes)
{
    /// <summary>Images of the dataset, for methods that remember every one; 0: not known.</summary>
    public long Images { get; init; }
}

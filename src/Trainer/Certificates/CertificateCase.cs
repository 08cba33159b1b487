using DarkMatter.Trainer.Methods;

namespace DarkMatter.Trainer.Certificates;

/// <summary>One setting of a method that is certified.</summary>
/// <param name="Name">The method's name, and what is special about the setting.</param>
/// <param name="Options">Small enough to train in moments.</param>
/// <param name="ViewSizes">Height and width of each view of an image, in pixels.</param>
public sealed record CertificateCase(string Name, MethodOptions Options, IReadOnlyList<int> ViewSizes)
{
    private const int Large = 12, Small = 10;

    /// <summary>What a method can do besides what its defaults do: each has collectives of its own.</summary>
    private static readonly Dictionary<string, Func<MethodOptions, IEnumerable<CertificateCase>>> More = new()
    {
        ["moco"] = o => [new("moco, no shuffle", (MoCoOptions)o with { ShuffleGroups = 0 }, [Large, Large])],
        ["swav"] = o => [new("swav, queue, crops", (SwAvOptions)o with { Queue = CertificateOptions.Images, FreezeSteps = 0, QueueFrom = 1 }, [Large, Large, Small, Small])],
        ["dino"] = o => [new("dino, crops", (DinoOptions)o with { FreezeSteps = 0 }, [Large, Large, Small])],
    };

    /// <summary>The settings of a registered method: its defaults, made small by <see cref="SmallSizes"/>, and what <see cref="More"/> adds.</summary>
    /// <exception cref="ArgumentException">There is no such method.</exception>
    public static IReadOnlyList<CertificateCase> Of(string method)
    {
        var options = MethodRegistry.Defaults(method).Read(new SmallSizes());
        return [new(method, options, Views(options)), .. More.TryGetValue(method, out var more) ? more(options) : []];
    }

    private static int[] Views(MethodOptions options)
    {
        int[][] shapes = [[Large, Large], [Large, .. Enumerable.Repeat(Small, options.Views.Most - 1)]];
        return shapes.FirstOrDefault(sizes => options.ViewProblem(sizes) is null)
            ?? throw new ArgumentException($"no view sizes for the certificate of {options.Name}: {options.ViewProblem(shapes[0])}", nameof(options));
    }
}

/// <summary>
/// Gives a method's options sizes that train in moments, without knowing the method: a queue becomes two batches, a width at most one; spans of updates at most 2; a momentum at most 0.9, so that what it averages moves. All else stays what the method is trained with.
/// </summary>
internal sealed class SmallSizes : IOptionReader
{
    public double Real(string key, double value, double min, double max, bool aboveMin) =>
        key.EndsWith("momentum", StringComparison.Ordinal) ? Math.Max(min, Math.Min(value, 0.9)) : value;

    public int Count(string key, int value, int min, int max) => value switch
    {
        >= 1 << 15 => 2 * CertificateOptions.Images,                          // a queue
        >= 1024 => CertificateOptions.Images,
        > 16 => 16,
        _ => value,
    };

    public long Whole(string key, long value, long min, long max) => Math.Max(min, Math.Min(value, 2));

    public bool Switch(string key, bool value) => value;
}

using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;

namespace DarkMatter.Trainer.Certificates;

/// <summary>One setting of a method that is certified.</summary>
/// <param name="Name">The method's name, and what is special about the setting.</param>
/// <param name="Options">Small enough to train in moments.</param>
/// <param name="ViewSizes">Height and width of each view of an image, in pixels.</param>
public sealed record CertificateCase(string Name, MethodOptions Options, IReadOnlyList<int> ViewSizes)
{
    private const int Large = 12, Small = 10;

    /// <summary>What a method can do besides what its defaults do: each has collectives, a memory or an order of its own.</summary>
    private static readonly Dictionary<string, Func<MethodOptions, int[], IEnumerable<CertificateCase>>> More = new()
    {
        ["simclr"] = (o, views) => [new("simclr, lars", o, views) { Optimizer = new OptimizerOptions { Name = OptimizerName.Lars, LearningRate = 5 } }],
        ["moco"] = (o, views) =>
        [
            new("moco v1", (MoCoOptions)o with { Temperature = 0.07, ProjectorLayers = 1 }, views),
            new("moco, no shuffle", (MoCoOptions)o with { ShuffleGroups = 0 }, views),
            new("moco, float16, stale", (MoCoOptions)o with { Bank = Late }, views),
        ],
        ["pirl"] = (o, views) =>
        [
            new("pirl, softmax", (PirlOptions)o with { InfoNce = true, ProjectorLayers = 2, Temperature = 0.1, NormalizeHead = true }, views),
            new("pirl, float16, stale", (PirlOptions)o with { Bank = Late }, views),
            new("pirl, epochs cut", (PirlOptions)o with { Negatives = 16 }, views) { DatasetImages = CertificateOptions.Images * 3 / 4 },    // an image may be twice in a batch
        ],
        ["swav"] = (o, _) =>
        [
            new("swav, queue, crops", (SwAvOptions)o with { Queue = CertificateOptions.Images, FreezeSteps = 0, QueueFrom = 1 }, [Large, Large, Small, Small]),
            new("swav as in seer", (SwAvOptions)o with { ProjectorLayers = 3, NormalizeProjector = false, SinkhornIterations = 10 }, [Large, Large])
            {
                Model = new RegNetOptions { SmallStem = true, StemWidth = 8, Depth = 4, Width = 8, Slope = 8, Factor = 2, GroupWidth = 8 },
            },
        ],
        ["deepcluster_v2"] = (o, views) => [new("deepcluster, epochs cut", o, views) { DatasetImages = CertificateOptions.Images * 5 / 4 }],
        ["dino"] = (o, _) =>
        [
            new("dino, crops, adamw", (DinoOptions)o with { FreezeSteps = 0 }, [Large, Large, Small])
            {
                // Where a gradient is next to nothing, rounding decides the sign of Adam's whole step: at this rate the step is below the tolerance.
                Optimizer = new OptimizerOptions { Name = OptimizerName.AdamW, LearningRate = 1e-4, WeightDecay = 0.04 },
            },
        ],
    };

    private static BankOptions Late => new() { Staleness = 1, Float16 = true };

    /// <summary>Default: a ResNet-18 of 8 to 64 channels.</summary>
    public BackboneOptions Model { get; init; } = new ResNetOptions { Width = 8, Stem = ResNetStem.Small };

    /// <summary>Default: SGD with momentum at a rate that trains.</summary>
    public OptimizerOptions Optimizer { get; init; } = new() { LearningRate = 0.05 };

    /// <summary>Images of an epoch. Default two batches.</summary>
    public int DatasetImages { get; init; } = 2 * CertificateOptions.Images;

    /// <summary>The settings of a registered method: its defaults, made small by <see cref="SmallSizes"/>, and what <see cref="More"/> adds.</summary>
    /// <exception cref="ArgumentException">There is no such method.</exception>
    public static IReadOnlyList<CertificateCase> Of(string method)
    {
        var options = MethodRegistry.Defaults(method).Read(new SmallSizes());
        var views = Views(options);
        return [new(method, options, views), .. More.TryGetValue(method, out var more) ? more(options, views) : []];
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

using System.Text.Json;
using System.Text.Json.Serialization;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>What came out of a run: <c>summary.json</c>. Names are stable; values that do not exist are null.</summary>
public sealed record RunSummary
{
    /// <summary>The run's name.</summary>
    public required string Run { get; init; }

    /// <summary>Part of the evaluation images whose class the nearest neighbours name, by trained features, 0 to 1.</summary>
    public double? Knn { get; init; }

    /// <summary>The same with the pixels themselves as features: what training must beat.</summary>
    public double? KnnRawPixels { get; init; }

    /// <summary>Images the neighbours came from.</summary>
    public int? KnnBank { get; init; }

    /// <summary>Images asked about.</summary>
    public int? KnnQueries { get; init; }

    /// <summary>Median over the steps of the global batch's images per second.</summary>
    public required double ImagesPerSecond { get; init; }

    /// <summary>Optimizer updates made.</summary>
    public required long Steps { get; init; }

    /// <summary>Times each image was seen.</summary>
    public required double Epochs { get; init; }

    /// <summary>From the command's start to its summary, this time only.</summary>
    public required double Seconds { get; init; }

    /// <summary>Sum over the steps, of the whole run.</summary>
    public required double TrainingSeconds { get; init; }

    /// <summary>Mean loss of the last steps.</summary>
    public double? Loss { get; init; }

    /// <summary>What the last look at the embeddings found: <c>healthy</c>, <c>warning: …</c>, <c>collapsed: …</c>; null without one.</summary>
    public string? Health { get; init; }

    /// <summary>The checkpoint's folder.</summary>
    public required string Checkpoint { get; init; }

    /// <summary>The trained backbone: safetensors with torchvision's names.</summary>
    public required string Export { get; init; }

    /// <summary>The report for people.</summary>
    public required string Report { get; init; }

    /// <summary>The curve: one CSV row per step.</summary>
    public required string Curve { get; init; }

    /// <summary>float32 or bfloat16.</summary>
    public required string Precision { get; init; }

    /// <summary>Trainers.</summary>
    public required int World { get; init; }

    /// <summary>Images per step.</summary>
    public required int Batch { get; init; }

    /// <summary>Images of the dataset.</summary>
    public required long Samples { get; init; }

    /// <summary>Images that broke while training and were replaced.</summary>
    public required long Quarantined { get; init; }

    /// <summary>SHA-256 of the resolved recipe.</summary>
    public required string RecipeDigest { get; init; }

    /// <summary>Writes the file, whole or not at all.</summary>
    public void Write(string path)
    {
        File.WriteAllText(path + ".tmp", ToJson());
        File.Move(path + ".tmp", path, overwrite: true);
    }

    /// <summary>Indented JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, RunSummaryJson.Default.RunSummary) + "\n";
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(RunSummary))]
internal sealed partial class RunSummaryJson : JsonSerializerContext;

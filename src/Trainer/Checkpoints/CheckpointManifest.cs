using System.Text.Json.Serialization;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>A checkpoint cannot be written, or one that was is not whole. The message names the file and what to do.</summary>
public sealed class CheckpointException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The table of contents of a checkpoint, <c>manifest.json</c>: written last, and believed only if every file agrees with it.</summary>
public sealed record CheckpointManifest
{
    /// <summary>
    /// The version of this layout. A reader refuses a higher one. 1: one model and one optimizer file. 2: one of each from every rank.
    /// </summary>
    public const int CurrentFormat = 2;

    /// <summary>The layout the checkpoint was written in.</summary>
    public required int Format { get; init; }

    /// <summary>Where training stood.</summary>
    public required TrainingProgress Progress { get; init; }

    /// <summary>Every other file of the folder.</summary>
    public required IReadOnlyList<CheckpointFile> Files { get; init; }

    /// <summary>Program, runtime and tensor library that wrote it.</summary>
    public required IReadOnlyDictionary<string, string> Versions { get; init; }

    /// <summary>The generation that wrote it; 0 in format 1.</summary>
    public long Generation { get; init; }

    /// <summary>Ranks that wrote it: so many files of each kind.</summary>
    public int World { get; init; } = 1;

    /// <summary>The parts of the networks, in rank order.</summary>
    [JsonIgnore]
    public IEnumerable<string> ModelFiles => Of(CheckpointKind.Model);

    /// <summary>The parts of the optimizer's memory, in rank order.</summary>
    [JsonIgnore]
    public IEnumerable<string> OptimizerFiles => Of(CheckpointKind.Optimizer);

    /// <summary>The resolved recipe.</summary>
    [JsonIgnore]
    public string RecipeFile => Of(CheckpointKind.Recipe).First();

    /// <summary>The length of all files, in bytes.</summary>
    [JsonIgnore]
    public long Bytes => Files.Sum(f => f.Bytes);

    private IEnumerable<string> Of(CheckpointKind kind) =>
        Files.Select(f => (f.Name, Parsed: CheckpointNames.Parse(f.Name))).Where(f => f.Parsed?.Kind == kind).OrderBy(f => f.Parsed!.Value.Rank).Select(f => f.Name);
}

/// <summary>One file of a checkpoint.</summary>
/// <param name="Name">Without folder.</param>
/// <param name="Bytes">Its length.</param>
/// <param name="Sha256">Its SHA-256, 64 lower-case hex digits.</param>
public sealed record CheckpointFile(string Name, long Bytes, string Sha256);

/// <summary>All that training needs to go on, besides tensors and recipe.</summary>
public sealed record TrainingProgress
{
    /// <summary>The run.</summary>
    public required string Run { get; init; }

    /// <summary>Optimizer updates applied.</summary>
    public required long Step { get; init; }

    /// <summary>Updates of the whole run: the schedule's length.</summary>
    public required long TotalSteps { get; init; }

    /// <summary>Whether <see cref="TotalSteps"/> is final; false while a time budget's rate is still to be measured.</summary>
    public required bool Planned { get; init; }

    /// <summary>Time trained so far, in seconds.</summary>
    public required double TrainedSeconds { get; init; }

    /// <summary>B.</summary>
    public required int GlobalBatch { get; init; }

    /// <summary>The position of every lane: samples it has given. Lane v is entry v.</summary>
    public required IReadOnlyList<long> LanePositions { get; init; }

    /// <summary>The seed of the network's start.</summary>
    public required long Seed { get; init; }

    /// <summary>torch's random state, in Base64.</summary>
    public required string RandomState { get; init; }

    /// <summary>The method's name.</summary>
    public required string Method { get; init; }

    /// <summary>The generation that made the last step; 0 in checkpoints of programs that did not say.</summary>
    public long StateGeneration { get; init; }

    /// <summary>Which generations made the newest steps, of which images; empty in checkpoints of programs that did not say.</summary>
    public IReadOnlyList<Training.StateSegment> Lineage { get; init; } = [];
}

/// <summary>The manifest as JSON.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(CheckpointManifest))]
[JsonSerializable(typeof(TrainingProgress))]
public sealed partial class CheckpointJson : JsonSerializerContext;

using System.Globalization;
using System.Text.RegularExpressions;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>What a file of a checkpoint holds.</summary>
public enum CheckpointKind
{
    /// <summary>Parameters and buffers of the networks.</summary>
    Model = 0,

    /// <summary>The optimizer's memory.</summary>
    Optimizer = 1,

    /// <summary>The resolved recipe.</summary>
    Recipe = 2,
}

/// <summary>
/// The names of a checkpoint's files. A rank's part is <c>model-00002-of-00004.safetensors</c>; alone it is <c>model.safetensors</c>.
/// A name that is taken (by an attempt that came to nothing, or by an abandoned branch of the run) is never written over: the next
/// attempt is <c>model-00002-of-00004.2.safetensors</c>. The manifest says which counts.
/// </summary>
public static partial class CheckpointNames
{
    /// <summary>The table of contents.</summary>
    public const string Manifest = "manifest.json";

    /// <summary>The name of a file.</summary>
    /// <param name="kind">What it holds.</param>
    /// <param name="rank">Who writes it, from 0.</param>
    /// <param name="world">How many write such files.</param>
    /// <param name="attempt">1 and above.</param>
    public static string Of(CheckpointKind kind, int rank = 0, int world = 1, int attempt = 1)
    {
        var (stem, ending) = kind switch
        {
            CheckpointKind.Model => ("model", "safetensors"),
            CheckpointKind.Optimizer => ("optimizer", "safetensors"),
            _ => ("recipe", "yaml"),
        };
        var part = world == 1 || kind == CheckpointKind.Recipe ? "" : string.Create(CultureInfo.InvariantCulture, $"-{rank + 1:D5}-of-{world:D5}");
        return string.Create(CultureInfo.InvariantCulture, $"{stem}{part}{(attempt > 1 ? $".{attempt}" : "")}.{ending}");
    }

    /// <summary>What a name says; null when it is none of a checkpoint's.</summary>
    public static (CheckpointKind Kind, int Rank, int World)? Parse(string name)
    {
        if (Pattern().Match(name) is not { Success: true } match)
            return null;
        var kind = match.Groups["stem"].Value switch
        {
            "model" => CheckpointKind.Model,
            "optimizer" => CheckpointKind.Optimizer,
            _ => CheckpointKind.Recipe,
        };
        return match.Groups["rank"].Success
            ? (kind, int.Parse(match.Groups["rank"].Value, CultureInfo.InvariantCulture) - 1, int.Parse(match.Groups["world"].Value, CultureInfo.InvariantCulture))
            : (kind, 0, 1);
    }

    [GeneratedRegex(@"^((?<stem>model|optimizer)(-(?<rank>\d{5})-of-(?<world>\d{5}))?(\.\d{1,4})?\.safetensors|(?<stem>recipe)(\.\d{1,4})?\.yaml)$", RegexOptions.CultureInvariant)]
    private static partial Regex Pattern();
}

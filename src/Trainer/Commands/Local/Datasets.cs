using System.Globalization;
using DarkMatter.Data;
using DarkMatter.Trainer.Recipes;

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>Gets a recipe's datasets ready: opens those that are packed, packs those that are not.</summary>
internal static class Datasets
{
    /// <summary>Broken images that are named on the screen; the rest is only counted.</summary>
    private const int NamedBroken = 5;

    /// <summary>The catalog at <paramref name="path"/>, packed from <paramref name="source"/> first when there is none yet.</summary>
    /// <param name="key">The recipe's key for the path, for messages.</param>
    /// <param name="path">The dataset's folder.</param>
    /// <param name="source">What it is packed from.</param>
    /// <param name="output">Gets progress and broken images.</param>
    /// <param name="cancellationToken">Ends the pack; the next one resumes it.</param>
    /// <exception cref="DatasetException">The dataset or its source is missing, empty or damaged.</exception>
    public static async Task<Catalog> EnsureAsync(string key, string path, SourceOptions source, Output output, CancellationToken cancellationToken)
    {
        if (File.Exists(Path.Combine(path, Catalog.FileName)) || File.Exists(path))
        {
            var packed = Check(Catalog.Load(path), key, path);
            return source.Images == 0 || packed.SampleCount <= source.Images
                ? packed
                : throw new CommandException(ExitCode.BadRequest, string.Create(CultureInfo.InvariantCulture,
                    $"{key}: the dataset in {path} has {packed.SampleCount} images, but the recipe wants {source.Images} of them ({SourceKey(key)}.images); give the smaller set a folder of its own, or leave that option out"));
        }
        if (!source.IsGiven)
        {
            throw new CommandException(ExitCode.BadRequest,
                $"{key}: there is no packed dataset in {path}, and the recipe does not say what to pack ({SourceKey(key)}). Pack one with 'darkmatter pack', or correct the path");
        }
        var report = await PackAsync(new PackOptions { Source = ToPackSource(source), Destination = path, Images = source.Images }, output, cancellationToken);
        return Check(report.Catalog, key, path);
    }

    /// <summary>Packs with a progress line, and reports what was left out.</summary>
    public static async Task<PackReport> PackAsync(PackOptions options, Output output, CancellationToken cancellationToken)
    {
        var name = SelfInvocation.Shorten(options.Destination);
        var progress = new Reporter(output, name);
        var report = await PackJob.RunAsync(options, progress, cancellationToken);
        var catalog = report.Catalog;
        output.Progress(
            () => string.Create(CultureInfo.InvariantCulture, $"packed {name}: {catalog.SampleCount:N0} images in {catalog.Shards.Count} shards{(report.Broken.Count > 0 ? $", {report.Broken.Count} broken left out" : "")}"),
            final: true);
        foreach (var broken in report.Broken.Take(NamedBroken))
        {
            output.Line($"  broken: {broken.Name}: {broken.Reason}");
        }
        if (report.Broken.Count > NamedBroken)
        {
            output.Line($"  and {report.Broken.Count - NamedBroken} more");
        }
        return report;
    }

    /// <summary>The source as the packer takes it.</summary>
    /// <exception cref="CommandException">A pattern of tars matches nothing.</exception>
    public static PackSource ToPackSource(SourceOptions source)
    {
        if (source.Idx.Length > 0)
        {
            return new PackSource.Idx(source.Idx, source.IdxLabels.Length > 0 ? source.IdxLabels : null);
        }
        return source.Folder.Length > 0
            ? new PackSource.Folder(source.Folder, source.LabelsFromFolders)
            : new PackSource.Tars(ExpandTars(source.Tars), Reshard: false);
    }

    /// <summary>The tars of a folder, or those that a pattern in a file name matches, in ordinal order.</summary>
    public static IReadOnlyList<string> ExpandTars(string pattern)
    {
        if (File.Exists(pattern))
        {
            return [pattern];
        }
        var (folder, names) = Directory.Exists(pattern) ? (pattern, "*.tar") : (Path.GetDirectoryName(pattern) ?? "", Path.GetFileName(pattern));
        string[] found = Directory.Exists(folder) ? [.. Directory.EnumerateFiles(folder, names).Order(StringComparer.Ordinal)] : [];
        return found.Length > 0
            ? found
            : throw new CommandException(ExitCode.BadRequest, $"{pattern}: no tars there; give a tar, a folder that has some, or a pattern such as 'images/*.tar'");
    }

    private static string SourceKey(string key) => key == "data.dataset" ? "data.source" : key + "_source";

    private static Catalog Check(Catalog catalog, string key, string path) => catalog.SampleCount > 0
        ? catalog
        : throw new CommandException(ExitCode.BadRequest, $"{key}: the dataset in {path} has no images; pack one that has");

    private sealed class Reporter(Output output, string name) : IProgress<PackProgress>
    {
        public void Report(PackProgress value) => output.Progress(() => string.Create(CultureInfo.InvariantCulture,
            $"{Output.Bar(value.Total > 0 ? (double)value.Done / value.Total : 0, 16)} packing {name}: {value.Done:N0} of {value.Total:N0} images, {value.Shards} shards{(value.Broken > 0 ? $", {value.Broken} broken" : "")}"));
    }
}

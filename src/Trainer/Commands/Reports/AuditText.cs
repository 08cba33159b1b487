using System.Globalization;
using System.Text;
using DarkMatter.Data;
using DarkMatter.Grains;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>An audit's report for people and for programs, with shards by their names.</summary>
/// <param name="run">The run's name.</param>
/// <param name="report">What was found.</param>
/// <param name="catalog">The run's shards.</param>
public sealed class AuditText(string run, AuditReport report, Catalog catalog)
{
    private const int NamedQuarantined = 20;

    /// <summary>For people: the verdict, what it rests on, and everything that a person should know.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        Line(text, $"run {run}: {Verdict()}");
        Line(text, $"  {Count(report.CommittedSteps, "step")} committed in {Count(report.Generations, "generation")}, {Count(report.DigestsChecked, "digest")} of the images used recomputed");
        if (report.FinishedEpochs == 0)
        {
            Line(text, $"  no epoch of {report.ImagesPerEpoch:N0} images is finished yet");
        }
        else
        {
            Line(text, $"  {Count(report.FinishedEpochs, "finished epoch")} of {report.ImagesPerEpoch:N0} images: {Exactness()}");
        }
        foreach (var lost in report.RolledBack)
        {
            Line(text, $"  rolled back: steps {lost.From} to {lost.To} of generation {lost.Generation} were lost with every trainer that had them, and trained again");
        }
        foreach (var steps in report.Unproven)
        {
            Line(text, $"  unproven: nobody reported which images generation {steps.Generation} used in steps {steps.From} to {steps.To}");
        }
        foreach (var problem in report.Problems)
        {
            Line(text, $"  problem: {problem}");
        }
        foreach (var image in report.Missing)
        {
            Line(text, $"  missing: sample {image.Address.Sample} of {Shard(image.Address.Shard)} in epoch {image.Epoch}");
        }
        if (report.MissingImages > report.Missing.Length)
        {
            Line(text, $"  missing: {report.MissingImages - report.Missing.Length:N0} more");
        }
        foreach (var broken in report.Quarantined.Take(NamedQuarantined))
        {
            Line(text, $"  quarantined: {broken.Key} (sample {broken.Index} of {Shard(broken.Shard)}) was never used: {broken.Reason}; the next sound one of its shard stood in for it");
        }
        if (report.Quarantined.Length > NamedQuarantined)
        {
            Line(text, $"  quarantined: {report.Quarantined.Length - NamedQuarantined:N0} more");
        }
        return text.ToString();
    }

    /// <summary>For programs.</summary>
    public IReadOnlyDictionary<string, object> ToJson() => new Dictionary<string, object>
    {
        ["run"] = run,
        ["verdict"] = report.Verdict.ToString().ToLowerInvariant(),
        ["committed_steps"] = report.CommittedSteps,
        ["finished_epochs"] = report.FinishedEpochs,
        ["images_per_epoch"] = report.ImagesPerEpoch,
        ["generations"] = report.Generations,
        ["digests_checked"] = report.DigestsChecked,
        ["rolled_back_steps"] = report.RolledBack.Sum(range => range.Count),
        ["rolled_back"] = report.RolledBack.Select(Range).ToArray(),
        ["unproven"] = report.Unproven.Select(Range).ToArray(),
        ["missing_images"] = report.MissingImages,
        ["missing"] = report.Missing.Select(image => new Dictionary<string, object>
        {
            ["epoch"] = image.Epoch,
            ["shard"] = Shard(image.Address.Shard),
            ["sample"] = image.Address.Sample,
        }).ToArray(),
        ["quarantined"] = report.Quarantined.Select(broken => new Dictionary<string, object>
        {
            ["key"] = broken.Key,
            ["shard"] = Shard(broken.Shard),
            ["sample"] = broken.Index,
            ["reason"] = broken.Reason,
        }).ToArray(),
        ["problems"] = report.Problems,
    };

    private string Verdict() => report.Verdict switch
    {
        AuditVerdict.Proven => "proven",
        AuditVerdict.Unproven => "NOT PROVEN: some steps have no digest",
        _ => "BROKEN: the ledger contradicts itself, or images are missing",
    };

    private string Exactness() => report.MissingImages > 0
        ? $"{report.MissingImages:N0} images were not committed"
        : report.Verdict == AuditVerdict.Broken ? "see the problems"
        : report.Quarantined.IsEmpty ? "every image was committed exactly once" : "every image was committed exactly once, but for those in quarantine";

    private string Shard(int shard) => (uint)shard < (uint)catalog.Shards.Count
        ? Path.GetFileName(catalog.Shards[shard].Tar)
        : $"shard {shard.ToString(CultureInfo.InvariantCulture)}, which the catalog does not have";

    private static Dictionary<string, long> Range(StepRange range) => new() { ["generation"] = range.Generation, ["from"] = range.From, ["to"] = range.To };

    private static string Count(long number, string thing) => string.Create(CultureInfo.InvariantCulture, $"{number:N0} {thing}{(number == 1 ? "" : "s")}");

    private static void Line(StringBuilder text, FormattableString line) => text.Append(FormattableString.Invariant(line)).Append('\n');
}

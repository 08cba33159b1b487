using System.Globalization;
using System.Net;
using System.Text;
using DarkMatter.Trainer.Commands.Sessions;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>The report of a run: one HTML file without scripts or references, readable in any browser and on paper.</summary>
internal static class HtmlReport
{
    /// <summary>The page.</summary>
    /// <param name="summary">The results.</param>
    /// <param name="rows">The curve.</param>
    /// <param name="recipe">Canonical YAML.</param>
    public static string Write(RunSummary summary, IReadOnlyList<StepRow> rows, string recipe)
    {
        var page = new StringBuilder();
        page.Append("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">");
        page.Append(CultureInfo.InvariantCulture, $"<title>{Text(summary.Run)}</title><style>{Style}</style></head><body>");
        page.Append(CultureInfo.InvariantCulture, $"<h1>{Text(summary.Run)}</h1>");
        if (summary is { Knn: { } knn, KnnRawPixels: { } raw })
        {
            page.Append(CultureInfo.InvariantCulture,
                $"<p class=\"lead\">Nearest neighbours name the class of <b>{knn:P1}</b> of {summary.KnnQueries:N0} images by the trained features, and of {raw:P1} by raw pixels. Labels were used for nothing else.</p>");
        }
        if (rows.Count > 1)
        {
            page.Append("<h2>Loss</h2>").Append(LossChart.Svg(rows));
        }
        page.Append("<h2>Run</h2><table>");
        foreach (var (name, value) in Facts(summary))
        {
            page.Append(CultureInfo.InvariantCulture, $"<tr><th>{Text(name)}</th><td>{Text(value)}</td></tr>");
        }
        page.Append("</table>");
        page.Append(CultureInfo.InvariantCulture, $"<h2>Recipe</h2><pre>{Text(recipe)}</pre></body></html>\n");
        return page.ToString();
    }

    /// <summary>What people want to know, in order.</summary>
    public static IEnumerable<(string Name, string Value)> Facts(RunSummary summary)
    {
        static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
        if (summary is { Knn: { } knn, KnnRawPixels: { } raw })
        {
            yield return ("kNN accuracy", Say($"{knn * 100:0.0} %  (raw pixels {raw * 100:0.0} %; {summary.KnnBank:N0} neighbours to choose from, {summary.KnnQueries:N0} queries)"));
        }
        yield return ("steps", Say($"{summary.Steps:N0} of {summary.Batch} images, {summary.Epochs:0.0} epochs of {summary.Samples:N0}"));
        yield return ("throughput", Say($"{summary.ImagesPerSecond:N0} images/s, {summary.World} trainer{(summary.World == 1 ? "" : "s")}, {summary.Precision}"));
        if (summary.Loss is { } loss)
        {
            yield return ("loss", Say($"{loss:0.0000}"));
        }
        if (summary.Health is { } health)
        {
            yield return ("embeddings", health);
        }
        yield return ("time", Say($"{summary.Seconds:0} s in all, {summary.TrainingSeconds:0} s of training"));
        if (summary.Quarantined > 0)
        {
            yield return ("broken images", Say($"{summary.Quarantined:N0} replaced"));
        }
        yield return ("checkpoint", summary.Checkpoint);
        yield return ("encoder", summary.Export);
        yield return ("report", summary.Report);
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    private const string Style =
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}" +
        "h1{font-size:1.6rem}h2{font-size:1.1rem;margin-top:2rem}th{text-align:left;font-weight:500;padding-right:1.5rem;white-space:nowrap;vertical-align:top}" +
        "td{font-variant-numeric:tabular-nums;overflow-wrap:anywhere}pre{overflow:auto;padding:1rem;border:1px solid #8886;border-radius:6px;font-size:.85rem}" +
        "svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:currentColor}.grid{stroke:#8884}.curve{fill:none;stroke:#2a78d6;stroke-width:1.5}.lead{font-size:1.1rem}";
}

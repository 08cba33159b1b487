using System.Globalization;
using System.Net;
using System.Text;
using DarkMatter.Grains;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Orleans;

namespace DarkMatter.Silo;

/// <summary>What a browser and a probe can ask: <c>/</c>, <c>/health/live</c>, <c>/health/ready</c>.</summary>
internal static class StatusPage
{
    /// <summary>Adds the pages, on the HTTP/1.1 port only.</summary>
    public static void MapStatusPage(this IEndpointRouteBuilder app)
    {
        app.MapGet("/health/live", () => Results.Text("live\n"));
        app.MapGet("/health/ready", (SessionHub hub) => hub.IsReady
            ? Results.Text("ready\n")
            : Results.Text("not ready: starting or stopping\n", statusCode: StatusCodes.Status503ServiceUnavailable));
        app.MapGet("/", async (IGrainFactory grains) => Results.Content(await Page(grains), "text/html; charset=utf-8"));
    }

    private static async Task<string> Page(IGrainFactory grains)
    {
        var page = new StringBuilder();
        page.Append(
            """
            <!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>DarkMatter</title>
            <style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem}table{border-collapse:collapse}td,th{padding:.3rem .8rem;text-align:left;
            border-bottom:1px solid #ccc}td.n{text-align:right;font-variant-numeric:tabular-nums}</style></head><body><h1>DarkMatter</h1>
            """);
        var names = await grains.GetGrain<IRunListGrain>(IRunListGrain.Key).Names();
        page.Append("<table><tr><th>run<th>state<th>step<th>loss<th>images/s<th>trainers<th>checkpoint<th>why</tr>");
        foreach (string name in names)
        {
            if (await grains.GetGrain<IRunGrain>(name).Get() is { } run)
            {
                Row(page, run);
            }
        }

        return page.Append(names.IsEmpty ? "</table><p>No runs yet.</p></body></html>" : "</table></body></html>").ToString();
    }

    private static void Row(StringBuilder page, RunView run)
    {
        string total = run.TotalSteps > 0 ? run.TotalSteps.ToString(CultureInfo.InvariantCulture) : "?";
        int alive = run.Progress.Members.Count(m => m.Alive);
        page.Append(
            CultureInfo.InvariantCulture,
            $"""
             <tr><td>{Text(run.Run)}<td>{run.State}<td class="n">{run.Progress.Step} / {total}<td class="n">{run.Progress.Loss:0.0000}
             <td class="n">{run.Progress.ImagesPerSecond:0}<td class="n">{alive} / {run.Plan.World}
             <td class="n">{run.Checkpoint?.Step.ToString(CultureInfo.InvariantCulture) ?? "none"}<td>{Text(run.Reason)}</tr>
             """);
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}

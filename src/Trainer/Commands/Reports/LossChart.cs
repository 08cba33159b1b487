using System.Globalization;
using System.Text;
using DarkMatter.Trainer.Commands.Sessions;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>Draws a loss curve as an SVG of some kilobytes that needs nothing else.</summary>
internal static class LossChart
{
    private const int Width = 760;
    private const int Height = 300;
    private const int Left = 56;
    private const int Bottom = 36;
    private const int Top = 12;
    private const int MostPoints = 400;

    /// <summary>The curve of <paramref name="rows"/>; steps in between are averaged where there are more than fit.</summary>
    public static string Svg(IReadOnlyList<StepRow> rows)
    {
        var points = Thin(rows);
        var (low, high) = (points.Min(point => point.Loss), points.Max(point => point.Loss));
        var margin = Math.Max((high - low) * 0.05, 1e-3);
        (low, high) = (low - margin, high + margin);
        double X(double step) => Left + ((step - points[0].Step) / Math.Max(1, points[^1].Step - points[0].Step) * (Width - Left - 16));
        double Y(double loss) => Top + ((high - loss) / (high - low) * (Height - Top - Bottom));

        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"Loss over steps\" xmlns=\"http://www.w3.org/2000/svg\">");
        foreach (var tick in Ticks(low, high, 5))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - 16}\" y1=\"{Y(tick):0.0}\" y2=\"{Y(tick):0.0}\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left - 8}\" y=\"{Y(tick) + 4:0.0}\" text-anchor=\"end\">{tick:0.###}</text>");
        }
        foreach (var tick in Ticks(points[0].Step, points[^1].Step, 8))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{X(tick):0.0}\" y=\"{Height - Bottom + 18}\" text-anchor=\"middle\">{tick:0}</text>");
        }
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Width / 2}\" y=\"{Height - 2}\" text-anchor=\"middle\">step</text>");
        svg.Append("<polyline class=\"curve\" points=\"");
        svg.AppendJoin(' ', points.Select(point => string.Create(CultureInfo.InvariantCulture, $"{X(point.Step):0.0},{Y(point.Loss):0.0}")));
        return svg.Append("\"/></svg>").ToString();
    }

    private static List<(double Step, double Loss)> Thin(IReadOnlyList<StepRow> rows)
    {
        var each = Math.Max(1, (rows.Count + MostPoints - 1) / MostPoints);
        return [.. rows.Chunk(each).Select(chunk => (chunk.Average(row => (double)row.Step), chunk.Average(row => row.Loss)))];
    }

    /// <summary>Round values between the ends: 1, 2 or 5 times a power of ten apart. One, where the ends are the same.</summary>
    internal static IEnumerable<double> Ticks(double low, double high, int about)
    {
        if (!(high > low))
        {
            yield return low;
            yield break;
        }
        var raw = (high - low) / about;
        var power = Math.Pow(10, Math.Floor(Math.Log10(raw)));
        var step = new[] { 1, 2, 5, 10 }.Select(factor => factor * power).First(candidate => candidate >= raw * 0.999);
        // Counted, not summed: a sum gathers rounding, and 0 becomes 5E-17. Adding 0 makes 0 of −0, which would be printed with its sign.
        for (var count = Math.Ceiling(low / step); count * step <= high; count++)
        {
            yield return (count * step) + 0.0;
        }
    }
}

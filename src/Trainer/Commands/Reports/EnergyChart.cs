using System.Globalization;
using System.Net;
using System.Text;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>Draws two distributions of energies, one over the other, as an SVG that needs nothing else and brings its own background.</summary>
internal static class EnergyChart
{
    private const int Width = 760;
    private const int Height = 400;
    private const int Left = 72;
    private const int Right = 28;
    private const int Top = 92;
    private const int Bottom = 74;
    private const int Floor = Height - Bottom;
    private const int Bins = 48;

    /// <summary>Labels of more characters than this need the room of two.</summary>
    private const int LongLabel = 9;

    /// <summary>About half the width of a digit, in pixels.</summary>
    private const double HalfCharacter = 4;

    /// <summary>One of so many pairs at either end of a distribution does not stretch the axis: the 0.1 and 99.9 percentiles.</summary>
    private const int Tail = 1000;

    private const string Style = """
        text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:16px;font-weight:600;fill:#111}.note{font-size:11px;fill:#666}
        .matching{fill:#2a6fd6;stroke:#1d55ab}.others{fill:#e0722b;stroke:#b35313}path,.swatch{fill-opacity:.35;stroke-width:1.5;stroke-linejoin:round}
        .mean{stroke-width:1.5;stroke-dasharray:5 4}.grid{stroke:#e3e3e3}.axis{stroke:#777}
        """;

    /// <summary>Both histograms, each scaled to its own number of pairs, with their means.</summary>
    /// <param name="matching">Energies of pairs that match, at least one; finite.</param>
    /// <param name="others">Energies of pairs that do not, at least one; finite.</param>
    /// <param name="title">What stands above.</param>
    public static string Svg(IReadOnlyList<double> matching, IReadOnlyList<double> others, string title)
    {
        var (low, high) = Ends(matching, others);
        var (first, second) = (Shares(matching, low, high), Shares(others, low, high));
        var top = first.Concat(second).Max() * 1.05;
        var outside = matching.Concat(others).Count(energy => energy < low || energy > high);
        double X(double energy) => Left + ((energy - low) / (high - low) * (Width - Left - Right));
        double Y(double share) => Floor - (share / top * (Floor - Top));

        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg width=\"{Width}\" height=\"{Height}\" viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"Energies of matching and other pairs\" xmlns=\"http://www.w3.org/2000/svg\">");
        svg.Append("<style>").Append(Style).Append("</style>");
        svg.Append(CultureInfo.InvariantCulture, $"<rect width=\"{Width}\" height=\"{Height}\" fill=\"#fff\"/>");
        svg.Append(CultureInfo.InvariantCulture, $"<text class=\"title\" x=\"{Left}\" y=\"28\">{WebUtility.HtmlEncode(title)}</text>");
        Legend("matching", "two views of one image", matching, 42);
        Legend("others", "views of two images", others, 62);

        foreach (var (share, label) in Labelled(LossChart.Ticks(0, top * 100, 5)))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Y(share / 100):0.0}\" y2=\"{Y(share / 100):0.0}\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left - 8}\" y=\"{Y(share / 100) + 4:0.0}\" text-anchor=\"end\">{label} %</text>");
        }
        svg.Append(CultureInfo.InvariantCulture, $"<text transform=\"translate(18 {(Top + Floor) / 2}) rotate(-90)\" text-anchor=\"middle\">share of pairs</text>");
        svg.Append(CultureInfo.InvariantCulture, $"<path class=\"others\" d=\"{Outline(second)}\"/><path class=\"matching\" d=\"{Outline(first)}\"/>");
        Mean("others", others);
        Mean("matching", matching);
        svg.Append(CultureInfo.InvariantCulture, $"<line class=\"axis\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Floor}\" y2=\"{Floor}\"/>");
        foreach (var (energy, label) in EnergyTicks(low, high))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"axis\" x1=\"{X(energy):0.0}\" x2=\"{X(energy):0.0}\" y1=\"{Floor}\" y2=\"{Floor + 5}\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Math.Min(X(energy), Width - (label.Length * HalfCharacter) - 4):0.0}\" y=\"{Floor + 19}\" text-anchor=\"middle\">{label}</text>");
        }
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{(Left + Width - Right) / 2}\" y=\"{Floor + 40}\" text-anchor=\"middle\">energy (low = compatible)</text>");
        if (outside > 0)
        {
            svg.Append(CultureInfo.InvariantCulture, $"<text class=\"note\" x=\"{Width - Right}\" y=\"{Height - 12}\" text-anchor=\"end\">{outside:N0} of {matching.Count + others.Count:N0} pairs, beyond the 0.1 to 99.9 percentiles, are not drawn</text>");
        }
        return svg.Append("</svg>").ToString();

        void Legend(string kind, string what, IReadOnlyList<double> energies, int y)
        {
            svg.Append(CultureInfo.InvariantCulture, $"<rect class=\"swatch {kind}\" x=\"{Left}\" y=\"{y}\" width=\"12\" height=\"12\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left + 20}\" y=\"{y + 10}\">{what}: {energies.Count:N0} pairs, mean {energies.Average():G4} (dashed)</text>");
        }

        void Mean(string kind, IReadOnlyList<double> energies)
        {
            // Outliers that are not drawn may pull a mean out of the picture.
            if (energies.Average() is var mean && mean >= low && mean <= high)
            {
                svg.Append(CultureInfo.InvariantCulture, $"<line class=\"mean {kind}\" x1=\"{X(mean):0.0}\" x2=\"{X(mean):0.0}\" y1=\"{Top}\" y2=\"{Floor}\"/>");
            }
        }

        string Outline(double[] shares)
        {
            var path = new StringBuilder(string.Create(CultureInfo.InvariantCulture, $"M{Left} {Floor}"));
            foreach (var (bin, share) in shares.Index())
            {
                path.Append(CultureInfo.InvariantCulture, $"V{Y(share):0.0}H{Left + ((bin + 1.0) / Bins * (Width - Left - Right)):0.0}");
            }
            return path.Append(CultureInfo.InvariantCulture, $"V{Floor}Z").ToString();
        }
    }

    /// <summary>Where the axis begins and ends: with the outermost energies of either set that are no tails.</summary>
    private static (double Low, double High) Ends(IReadOnlyList<double> matching, IReadOnlyList<double> others)
    {
        var (first, second) = (Middle(matching), Middle(others));
        var (low, high) = (Math.Min(first.Low, second.Low), Math.Max(first.High, second.High));
        // Energies that are all the same have no width; and ticks need room between neighbouring numbers.
        var missing = Math.Max(Math.Max(Math.Abs(low), Math.Abs(high)) * 1e-6, 1e-9) - (high - low);
        return missing > 0 ? (low - (missing / 2), high + (missing / 2)) : (low, high);
    }

    private static (double Low, double High) Middle(IReadOnlyList<double> energies)
    {
        double[] sorted = [.. energies.Order()];
        var tail = sorted.Length / Tail;
        return (sorted[tail], sorted[^(tail + 1)]);
    }

    /// <summary>The share of all pairs that falls into each bin; what is outside falls into none.</summary>
    private static double[] Shares(IReadOnlyList<double> energies, double low, double high)
    {
        var shares = new double[Bins];
        foreach (var energy in energies.Where(energy => energy >= low && energy <= high))
        {
            shares[Math.Min(Bins - 1, (int)((energy - low) / (high - low) * Bins))] += 1.0 / energies.Count;
        }
        return shares;
    }

    private static IReadOnlyList<(double Tick, string Label)> EnergyTicks(double low, double high)
    {
        var ticks = Labelled(LossChart.Ticks(low, high, 8));
        return ticks.All(tick => tick.Label.Length <= LongLabel) ? ticks : Labelled(LossChart.Ticks(low, high, 3));
    }

    /// <summary>Four significant digits, or as many as it takes for no two labels to be the same.</summary>
    private static IReadOnlyList<(double Tick, string Label)> Labelled(IEnumerable<double> ticks)
    {
        const int LeastDigits = 4, MostDigits = 17;
        double[] values = [.. ticks];
        for (var digits = LeastDigits; ; digits++)
        {
            string[] labels = [.. values.Select(value => value.ToString(string.Create(CultureInfo.InvariantCulture, $"G{digits}"), CultureInfo.InvariantCulture))];
            if (digits == MostDigits || labels.Distinct().Count() == labels.Length)
                return [.. values.Zip(labels)];
        }
    }
}

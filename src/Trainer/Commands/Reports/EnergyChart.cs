using System.Globalization;
using System.Text;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>Draws two distributions of energies, one over the other, as an SVG that needs nothing else.</summary>
internal static class EnergyChart
{
    private const int Width = 760;
    private const int Height = 340;
    private const int Left = 24;
    private const int Top = 44;
    private const int Bottom = 44;
    private const int Bins = 48;

    /// <summary>Both histograms, each scaled to its own number of pairs.</summary>
    public static string Svg(IReadOnlyList<double> matching, IReadOnlyList<double> others, string title)
    {
        var (low, high) = (matching.Concat(others).Min(), matching.Concat(others).Max());
        if (high - low < 1e-12)
        {
            high = low + 1e-12;
        }
        var (first, second) = (Parts(matching, low, high), Parts(others, low, high));
        var top = first.Concat(second).Max();
        double X(double energy) => Left + ((energy - low) / (high - low) * (Width - (2 * Left)));

        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"Energies of matching and other pairs\" xmlns=\"http://www.w3.org/2000/svg\">");
        svg.Append("<style>text{font:12px system-ui,sans-serif;fill:#222}.m{fill:#2a78d6;fill-opacity:.65}.o{fill:#e07b39;fill-opacity:.55}line{stroke:#888}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>");
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left}\" y=\"18\">{System.Net.WebUtility.HtmlEncode(title)}</text>");
        svg.Append(CultureInfo.InvariantCulture, $"<rect class=\"m\" x=\"{Left}\" y=\"26\" width=\"10\" height=\"10\"/><text x=\"{Left + 15}\" y=\"35\">two views of one image ({matching.Count:N0})</text>");
        svg.Append(CultureInfo.InvariantCulture, $"<rect class=\"o\" x=\"{Left + 220}\" y=\"26\" width=\"10\" height=\"10\"/><text x=\"{Left + 235}\" y=\"35\">of two images ({others.Count:N0})</text>");
        Bars(second, "o");
        Bars(first, "m");
        svg.Append(CultureInfo.InvariantCulture, $"<line x1=\"{Left}\" x2=\"{Width - Left}\" y1=\"{Height - Bottom}\" y2=\"{Height - Bottom}\"/>");
        foreach (var tick in LossChart.Ticks(low, high, 8))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{X(tick):0.0}\" y=\"{Height - Bottom + 16}\" text-anchor=\"middle\">{tick:0.####}</text>");
        }
        return svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Width / 2}\" y=\"{Height - 6}\" text-anchor=\"middle\">energy</text></svg>").ToString();

        void Bars(double[] parts, string kind)
        {
            var width = (Width - (2.0 * Left)) / Bins;
            for (var bin = 0; bin < Bins; bin++)
            {
                var height = parts[bin] / top * (Height - Top - Bottom);
                svg.Append(CultureInfo.InvariantCulture, $"<rect class=\"{kind}\" x=\"{Left + (bin * width):0.0}\" y=\"{Height - Bottom - height:0.0}\" width=\"{width:0.0}\" height=\"{height:0.0}\"/>");
            }
        }
    }

    private static double[] Parts(IReadOnlyList<double> energies, double low, double high)
    {
        var parts = new double[Bins];
        foreach (var energy in energies)
        {
            parts[Math.Min(Bins - 1, (int)((energy - low) / (high - low) * Bins))] += 1.0 / energies.Count;
        }
        return parts;
    }
}

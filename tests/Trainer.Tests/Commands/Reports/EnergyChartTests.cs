using System.Globalization;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using DarkMatter.Trainer.Commands.Reports;

namespace DarkMatter.Trainer.Tests.Commands.Reports;

public sealed class EnergyChartTests
{
    private static readonly XNamespace Ns = "http://www.w3.org/2000/svg";

    [Fact]
    public void Svg_TwoSets_IsWholeXmlWithBothHistogramsTheirMeansAndAxes()
    {
        var svg = Draw([0.1, 0.2, 0.2, 0.1], [0.8, 0.9], "a < b");
        var texts = Texts(svg);
        texts[0].ShouldBe("a < b");
        texts.ShouldContain("two views of one image: 4 pairs, mean 0.15 (dashed)");
        texts.ShouldContain("views of two images: 2 pairs, mean 0.85 (dashed)");
        texts.ShouldContain("share of pairs");
        texts.ShouldContain("energy (low = compatible)");
        texts.ShouldContain("40 %", "each set's two bars are half of its pairs");
        texts.ShouldNotContain(text => text.Contains("percentiles"));
        foreach (var kind in (string[])["matching", "others"])
        {
            Bars(svg, kind).ShouldBe(2, kind);
            svg.Descendants(Ns + "line").Count(line => (string?)line.Attribute("class") == "mean " + kind).ShouldBe(1);
        }

        var background = svg.Descendants(Ns + "rect").First();
        (background.Attribute("fill")!.Value, background.Attribute("width")!.Value, background.Attribute("height")!.Value)
            .ShouldBe(("#fff", svg.Root!.Attribute("width")!.Value, svg.Root.Attribute("height")!.Value), "a dark viewer shows it as a light one does");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-2)]
    [InlineData(0.001)]
    [InlineData(1e12)]
    [InlineData(-1e200)]
    public void Svg_EnergiesAllTheSame_IsOneBarInTheMiddle(double energy)
    {
        var svg = Draw([energy, energy], [energy]);
        Bars(svg, "matching").ShouldBe(1);
        Bars(svg, "others").ShouldBe(1);
        ShouldBeNumbered(svg);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(-0.3, 0.7)]
    [InlineData(0, 1e-8)]
    [InlineData(0.5, 0.50001)]
    [InlineData(123456.7, 123457.1)]
    [InlineData(-1e9, 5e9)]
    public void Svg_AnyRange_HasTicksWithDistinctLabels(double low, double high) => ShouldBeNumbered(Draw([low, (low + high) / 2], [high]));

    [Fact]
    public void Svg_LongTails_AreNotDrawnAndCounted()
    {
        double[] matching = [.. Enumerable.Range(0, 2000).Select(i => i / 2000.0)], others = [.. Enumerable.Range(0, 3998).Select(i => 1 + (i / 3998.0)), 1e6, 2e6];
        var svg = Draw(matching, others);
        // Of 2000 pairs the two lowest are below 2/2000; of 4000 the two outliers and two more are above the fourth of the highest.
        Texts(svg).ShouldContain("6 of 6,000 pairs, beyond the 0.1 to 99.9 percentiles, are not drawn");
        Bars(svg, "matching").ShouldBeGreaterThan(20, "without the outliers there is room for the rest");
        svg.Descendants(Ns + "line").Count(line => ((string?)line.Attribute("class"))!.StartsWith("mean", StringComparison.Ordinal))
            .ShouldBe(1, "the outliers pull the others' mean out of the picture");
        ShouldBeNumbered(svg);
    }

    private static XDocument Draw(double[] matching, double[] others, string title = "try") => XDocument.Parse(EnergyChart.Svg(matching, others, title));

    private static List<string> Texts(XDocument svg) => [.. svg.Descendants(Ns + "text").Select(text => text.Value)];

    /// <summary>Bins with a height.</summary>
    private static int Bars(XDocument svg, string kind)
    {
        var path = svg.Descendants(Ns + "path").Single(path => path.Attribute("class")!.Value == kind).Attribute("d")!.Value;
        double[] heights = [.. Regex.Matches(path, "V([0-9.]+)H").Select(match => double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))];
        heights.Length.ShouldBe(48);
        return heights.Count(height => height < heights.Max());
    }

    private static void ShouldBeNumbered(XDocument svg)
    {
        var text = svg.ToString();
        foreach (var wrong in (string[])["NaN", "∞", "Infinity"])
            text.ShouldNotContain(wrong, Case.Sensitive);
        var ticks = svg.Descendants(Ns + "text").Where(label => label.Attribute("class") is null && (string?)label.Attribute("text-anchor") == "middle" && label.Value.Any(char.IsAsciiDigit)).ToList();
        ticks.Count.ShouldBeGreaterThan(1);
        ticks.Select(tick => tick.Value).Distinct().Count().ShouldBe(ticks.Count);
        ticks.ShouldAllBe(tick => tick.Value != "-0");
        double[] places = [.. ticks.Select(tick => double.Parse(tick.Attribute("x")!.Value, CultureInfo.InvariantCulture))];
        // Seven pixels are about a character's width.
        foreach (var ((tick, next), (label, following)) in places.Zip(places.Skip(1)).Zip(ticks.Zip(ticks.Skip(1))))
            (next - tick).ShouldBeGreaterThan(7 * (label.Value.Length + following.Value.Length) / 2.0, $"'{label.Value}' and '{following.Value}' overlap");
    }
}

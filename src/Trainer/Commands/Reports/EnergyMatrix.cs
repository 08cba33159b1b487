using System.Globalization;
using System.Text;
using System.Text.Json;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>The energies of images with each other, for people and for programs.</summary>
/// <param name="Method">The method's name.</param>
/// <param name="Symmetric">Whether an exchange of the images leaves an energy as it is.</param>
/// <param name="Images">The images, as they were named.</param>
/// <param name="Energies">Row x, column y.</param>
internal sealed record EnergyMatrix(string Method, bool Symmetric, IReadOnlyList<string> Images, double[,] Energies)
{
    private const int LeastWidth = 10;

    /// <summary>A line that says how to read it, the matrix with numbered rows and columns, and which image has which number.</summary>
    public string Text()
    {
        var rows = Rows().Select(row => row.Select(Number).ToArray()).ToList();
        var width = Math.Max(LeastWidth, rows.SelectMany(row => row).Max(number => number.Length) + 2);
        var label = Images.Count.ToString(CultureInfo.InvariantCulture).Length;

        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{Method}: energies of {Images.Count} images; low = compatible").Append(Symmetric ? "" : "; row = query, column = key").Append('\n');
        text.Append(' ', label).AppendJoin("", rows.Select((_, column) => Place(column).PadLeft(width))).Append('\n');
        foreach (var (x, row) in rows.Index())
            text.Append(Place(x).PadLeft(label)).AppendJoin("", row.Select(number => number.PadLeft(width))).Append('\n');
        text.Append('\n').AppendJoin('\n', Images.Select((image, x) => $"{Place(x).PadLeft(label)}  {image}"));
        return text.ToString();
    }

    /// <summary>One JSON object: <c>method</c>, <c>symmetric</c>, <c>images</c>, <c>energy</c> (rows of columns).</summary>
    public string Json() => JsonSerializer.Serialize(new { method = Method, symmetric = Symmetric, images = Images, energy = Rows() });

    private double[][] Rows() => [.. Images.Select((_, x) => Images.Select((_, y) => Energies[x, y]).ToArray())];

    private static string Place(int image) => (image + 1).ToString(CultureInfo.InvariantCulture);

    /// <summary>Rounding may leave an image a hair below 0 with itself; adding 0 makes 0 of −0, so that it has no sign.</summary>
    private static string Number(double energy) => (Math.Round(energy, 6) + 0.0).ToString("0.000000", CultureInfo.InvariantCulture);
}

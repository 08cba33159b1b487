using System.Globalization;
using System.Text.Json.Serialization;

namespace DarkMatter.Trainer.Certificates;

/// <summary>The certificate as a table for people.</summary>
internal static class CertificateText
{
    private const int Method = 20, Precision = 9, World = 3, Number = 9, Place = 44;

    /// <summary>The first line.</summary>
    public static string Header => Columns("method", "precision", "W", "loss", "gradient", "of", "state", "of");

    /// <summary>One row.</summary>
    public static string Line(CertificateRow row) => Columns(
        row.Method, row.Precision.ToString().ToLowerInvariant(), row.World.ToString(CultureInfo.InvariantCulture), Digits(row.Loss), Digits(row.Gradient),
        row.Gradient.Where, Digits(row.State), row.State.Where) + (row.Passed ? "" : "  FAILED");

    /// <summary>The last line.</summary>
    public static string Verdict(IReadOnlyList<CertificateRow> rows)
    {
        var passed = rows.Count(row => row.Passed);
        var worst = rows.GroupBy(row => row.Precision).Select(of => string.Create(CultureInfo.InvariantCulture,
            $"{of.Key.ToString().ToLowerInvariant()} {of.Max(row => Math.Max(row.Loss.Relative, Math.Max(row.Gradient.Relative, row.State.Relative))):0.0e+0}"));
        return $"CERTIFICATE {passed} of {rows.Count} rows passed; largest error: {string.Join(", ", worst)}";
    }

    private static string Columns(string method, string precision, string world, string loss, string gradient, string whose, string state, string which) =>
        $"{method,-Method} {precision,-Precision} {world,World} {loss,Number} {gradient,Number} {whose,-Place} {state,Number} {which}";

    private static string Digits(Deviation deviation) => deviation.Relative == 0 ? "0" : deviation.Relative.ToString("0.0e+0", CultureInfo.InvariantCulture);
}

[JsonSourceGenerationOptions(
    WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, UseStringEnumConverter = true,
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(List<CertificateRow>))]
internal sealed partial class CertificateJson : JsonSerializerContext;

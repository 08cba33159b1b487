using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.Json.Serialization;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Certificates;

/// <summary>The certificate as a table for people.</summary>
internal static class CertificateText
{
    private const int Method = 23, Precision = 9, World = 3, Number = 9, Place = 44;

    /// <summary>The first line.</summary>
    public static string Header => Columns("method", "precision", "W", "loss", "gradient", "of", "state", "of", "again");

    /// <summary>One row.</summary>
    public static string Line(CertificateRow row) => Columns(
        row.Method, NameOf(row.Precision), row.World.ToString(CultureInfo.InvariantCulture), Digits(row.Loss), Digits(row.Gradient),
        Where(row.Gradient), Digits(row.State), Where(row.State), Again(row)) + (row.Passed ? "" : "  FAILED");

    /// <summary>The last line.</summary>
    public static string Verdict(IReadOnlyList<CertificateRow> rows)
    {
        var passed = rows.Count(row => row.Passed);
        var worst = rows.GroupBy(row => row.Precision).Select(of => string.Create(CultureInfo.InvariantCulture,
            $"{NameOf(of.Key)} {of.Max(row => Math.Max(row.Loss.Relative, Math.Max(row.Gradient.Relative, row.State.Relative))):0.0e+0}"));
        var (repeated, updates) = (rows.Sum(row => row.Repeated), rows.Sum(row => row.Updates));
        var dismissed = rows.Max(row => row.Dismissed?.Relative ?? 0);
        var again = repeated == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"; {repeated} of {updates} updates measured again, the largest error dismissed {dismissed:0.0e+0}");
        return $"CERTIFICATE {passed} of {rows.Count} rows passed; largest error: {string.Join(", ", worst)}{again}";
    }

    /// <summary>The page of a certificate: what was measured where, and the table, in Markdown.</summary>
    public static string Page(IReadOnlyList<CertificateRow> rows, int steps, TimeSpan took)
    {
        var page = new StringBuilder();
        page.AppendLine(CultureInfo.InvariantCulture, $"""
            # Do W ranks train as one?

            Written by `make certify` (`darkmatter certify --output`); do not edit. Every method, made small, trains {steps} updates on a global batch of {CertificateOptions.Images} images as W ranks that speak
            gRPC over loopback, and is compared with one rank. The largest relative error of all updates and ranks stands here: of the loss, of any parameter's gradient, and of any tensor of the
            state after an update (parameters, averages, memories, prototypes, running statistics, the optimizer's momenta). float64: the worlds train freely; at most
            {CertificateOptions.Tolerance(Training.Precision.Float64):0e+0} passes. float32: each update begins from one rank's state; at most {CertificateOptions.Tolerance(Training.Precision.Float32):0e+0} passes. *again*: updates beyond that, because an activation
            was within rounding of 0 or the like, that were within it on other images (at most {CertificateOptions.MostRepeated(steps)}), and the largest error so dismissed.
            `src/Trainer/Certificates/Certificate.cs` defines all of it.

            {Machine}; {took.TotalMinutes:0.0} minutes. `{Verdict(rows)}`

            | method | precision | W | loss | gradient | of | state | of | again | |
            |---|---|--:|--:|--:|---|--:|---|---|---|
            """);
        foreach (var row in rows)
        {
            page.AppendLine(CultureInfo.InvariantCulture,
                $"| {row.Method} | {NameOf(row.Precision)} | {row.World} | {Digits(row.Loss)} | {Digits(row.Gradient)} | {Code(row.Gradient)} | {Digits(row.State)} | {Code(row.State)} | {Again(row)} | {(row.Passed ? "passed" : "**failed**")} |");
        }

        return page.ToString();
    }

    /// <summary>An error in two digits.</summary>
    public static string Digits(Deviation deviation) => deviation.Relative == 0 ? "0" : deviation.Relative.ToString("0.0e+0", CultureInfo.InvariantCulture);

    /// <summary>As <c>--precision</c> spells it.</summary>
    public static string NameOf(Precision precision) => precision.ToString().ToLowerInvariant();

    private static string Machine
    {
        get
        {
            const string Cpus = "/proc/cpuinfo";
            var name = File.Exists(Cpus) ? File.ReadLines(Cpus).FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() : null;
            var version = typeof(Certificate).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";
            return $"{name ?? "unknown processor"}, {Environment.ProcessorCount} cores; {TorchStack.Current.Description}; version and commit {version}";
        }
    }

    private static string Columns(string method, string precision, string world, string loss, string gradient, string whose, string state, string which, string again) =>
        $"{method,-Method} {precision,-Precision} {world,World} {loss,Number} {gradient,Number} {whose,-Place} {state,Number} {which,-Place} {again}";

    private static string Again(CertificateRow row) => row.Dismissed is { } largest ? $"{row.Repeated} ({Digits(largest)})" : "";

    /// <summary>Where an error is; of one that is 0, nowhere.</summary>
    private static string Where(Deviation deviation) => deviation.Relative == 0 ? "" : deviation.Where;

    private static string Code(Deviation deviation) => deviation.Relative == 0 ? "" : $"`{deviation.Where}`";
}

[JsonSourceGenerationOptions(
    WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, UseStringEnumConverter = true,
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(List<CertificateRow>))]
internal sealed partial class CertificateJson : JsonSerializerContext;

using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Certificates;

/// <summary>How methods are certified.</summary>
public sealed record CertificateOptions
{
    /// <summary>B, images of the global batch.</summary>
    public const int Images = 32;

    /// <summary>V, lanes: over 3 ranks they are dealt unevenly.</summary>
    public const int Lanes = 16;

    /// <summary>Other images that an update which is beyond tolerance may be measured on, one after the other: see <see cref="Certificate"/>.</summary>
    public const int MostDraws = 6;

    /// <summary>The largest error that may be dismissed because it does not come back on other images.</summary>
    public const double MostDismissed = 0.1;

    /// <summary>W, worlds that are compared with one rank, 1 to <see cref="Lanes"/> each; kept in ascending order, each once. Default 1 to 4.</summary>
    public IReadOnlyList<int> Worlds { get; init => field = [.. value.Distinct().Order()]; } = [1, 2, 3, 4];

    /// <summary>Each counts once. Default float64 and float32.</summary>
    public IReadOnlyList<Precision> Precisions { get; init => field = [.. value.Distinct()]; } = [Precision.Float64, Precision.Float32];

    /// <summary>Updates: loss, gradients and state of each are compared. Default 20.</summary>
    public int Steps { get; init; } = 20;

    /// <summary>How many of so many updates may be measured again: two fifths.</summary>
    public static int MostRepeated(int updates) => ((2 * updates) + 4) / 5;

    /// <summary>The part of a setting's learning rate that is used: in float64, where worlds train freely, a fifth, or rounding would grow past what is measured.</summary>
    public static double RateOf(Precision precision) => precision == Precision.Float64 ? 0.2 : 1;

    /// <summary>The largest relative error that passes.</summary>
    public static double Tolerance(Precision precision) => precision == Precision.Float64 ? 1e-9 : 1e-5;

    /// <summary>Everything that is wrong with these options; empty when nothing is.</summary>
    public IEnumerable<string> Problems()
    {
        foreach (var world in Worlds.Where(world => world is < 1 or > Lanes))
            yield return $"world {world} is outside 1..{Lanes}: the certificate's batch has {Lanes} lanes, and a rank needs one";
        foreach (var precision in Precisions.Where(precision => precision is not (Precision.Float32 or Precision.Float64)))
            yield return $"precision {precision} is not certified; it is float32 or float64";
        if (Worlds.Count == 0 || Precisions.Count == 0)
            yield return "there is no world or no precision to certify";
        if (Steps < 1)
            yield return $"{Steps} steps: at least 1 is needed";
    }
}

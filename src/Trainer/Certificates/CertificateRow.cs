using System.Globalization;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Certificates;

/// <summary>How far a world is from one rank, for one setting of a method: the largest errors of all updates and ranks; where there are some beyond tolerance, of the first update that has one.</summary>
/// <param name="Method">The setting's name.</param>
/// <param name="Precision">What was computed in.</param>
/// <param name="World">W.</param>
/// <param name="Loss">Largest error of the loss of an update.</param>
/// <param name="Gradient">Largest error of a parameter's gradient, and whose.</param>
/// <param name="State">Largest error of a tensor of the state after an update, and which: parameters, averages, memories, running statistics, momenta.</param>
/// <param name="Tolerance">What passes.</param>
public sealed record CertificateRow(
    string Method, Precision Precision, int World, Deviation Loss, Deviation Gradient, Deviation State, double Tolerance)
{
    /// <summary>Updates that were measured.</summary>
    public int Updates { get; init; }

    /// <summary>How many of them were beyond tolerance at first, and within it on other images: see <see cref="Certificate"/>.</summary>
    public int Repeated { get; init; }

    /// <summary>The largest error of those that was not there on other images; null where there are none.</summary>
    public Deviation? Dismissed { get; init; }

    /// <summary>The first update after which the ranks did not hold the same bits; null: they always did.</summary>
    public int? Differs { get; init; }

    /// <summary>Whether all errors are within tolerance, and all ranks held the same bits.</summary>
    public bool Passed => !Failures.Any();

    /// <summary>What is wrong, one sentence each: method, world, precision, tensor, rank, update.</summary>
    public IEnumerable<string> Failures =>
    [
        .. from found in ((string What, Deviation Error)[])[("", Loss), ("the gradient of ", Gradient), ("the state of ", State)]
           where !(found.Error.Relative <= Tolerance)
           select $"{Subject}, {found.What}{found.Error.Where} on rank {found.Error.Rank} in update {found.Error.Update} is {CertificateText.Digits(found.Error)} from one rank's (relative; at most {Tolerance.ToString("0e+0", CultureInfo.InvariantCulture)} passes)",
        .. Differs is { } update ? [$"{Subject}, ranks hold different states after update {update}"] : (string[])[],
    ];

    private string Subject => $"{Method}: with {World} ranks in {CertificateText.NameOf(Precision)}";
}

/// <summary>A relative error and where it is.</summary>
/// <param name="Relative">Infinite where a number is none.</param>
/// <param name="Where">The tensor, or "the loss".</param>
/// <param name="Update">Counted from 1.</param>
/// <param name="Rank">Whose tensor it is.</param>
public sealed record Deviation(double Relative, string Where, int Update, int Rank)
{
    /// <summary>The largest; of equal ones the first.</summary>
    public static Deviation Largest(IEnumerable<Deviation> deviations) => deviations.MaxBy(d => d.Relative)
        ?? throw new InvalidOperationException("there is nothing to compare");
}

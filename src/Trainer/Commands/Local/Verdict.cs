namespace DarkMatter.Trainer.Commands.Local;

/// <summary>
/// Decides which of the ended processes is the cause of a run's end. When one dies, the others follow within moments, each with an exit
/// code that says whom it lost: those are consequences, and whoever ended in another way is the cause.
/// </summary>
public static class Verdict
{
    /// <summary>The cause among <paramref name="exits"/>, given in the order they were seen; null when there is none.</summary>
    public static ChildExit? Cause(IReadOnlyList<ChildExit> exits)
    {
        ArgumentNullException.ThrowIfNull(exits);
        return exits.OrderBy(Rank).FirstOrDefault();
    }

    /// <summary>Whether the true cause may still show up: all that ended so far only say that they lost another.</summary>
    public static bool MayStillChange(IReadOnlyList<ChildExit> exits)
    {
        ArgumentNullException.ThrowIfNull(exits);
        return exits.Count > 0 && exits.All(exit => Rank(exit) >= Consequence);
    }

    private const int Consequence = 3;

    // A stable sort keeps the order of ends within a rank: the first signal wins, then the first error of its own, then the first consequence.
    private static int Rank(ChildExit exit) => exit.Code switch
    {
        > 128 => 0,
        ExitCode.BadRequest => 1,
        ExitCode.LostTrainer or ExitCode.LostSilo => Consequence,
        ExitCode.Stopped => Consequence + 1,
        ExitCode.Done => Consequence + 2,
        _ => 2,
    };
}

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>Splits the time of a whole local run into its parts.</summary>
/// <param name="Training">For the training steps.</param>
/// <param name="Evaluation">For evaluation, export and report.</param>
public sealed record TimePlan(TimeSpan Training, TimeSpan Evaluation)
{
    private static readonly TimeSpan StartUp = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LeastTraining = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LeastEvaluation = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan MostEvaluation = TimeSpan.FromSeconds(60);
    private const double EvaluationPart = 0.15;

    /// <summary>The plan for a run that may take <paramref name="whole"/> and has taken <paramref name="elapsed"/> so far.</summary>
    /// <param name="whole">From the command's start to its summary.</param>
    /// <param name="elapsed">Spent already, on packing.</param>
    /// <param name="evaluate">Whether there is an evaluation at all.</param>
    public static TimePlan Split(TimeSpan whole, TimeSpan elapsed, bool evaluate)
    {
        var evaluation = evaluate ? Clamp(whole * EvaluationPart, LeastEvaluation, MostEvaluation) : TimeSpan.Zero;
        var training = whole - elapsed - StartUp - evaluation;
        return new TimePlan(training > LeastTraining ? training : LeastTraining, evaluation);
    }

    /// <summary>
    /// How many bank images fit into <paramref name="time"/> beside the queries, when features come at <paramref name="imagesPerSecond"/>.
    /// </summary>
    public static int BankThatFits(TimeSpan time, double imagesPerSecond, int queries, int bank, int atLeast) =>
        Math.Clamp((int)Math.Min(bank, (time.TotalSeconds * imagesPerSecond) - queries), Math.Min(atLeast, bank), bank);

    private static TimeSpan Clamp(TimeSpan value, TimeSpan least, TimeSpan most) => value < least ? least : value > most ? most : value;
}

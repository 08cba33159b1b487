namespace DarkMatter.Trainer.Commands.Local;

/// <summary>Splits the time of a whole local run: training up to a moment, then evaluation, export and report.</summary>
/// <param name="TrainUntil">From the command's start to the end of the training steps.</param>
/// <param name="Whole">From the command's start to its summary.</param>
public sealed record TimePlan(TimeSpan TrainUntil, TimeSpan Whole)
{
    private static readonly TimeSpan LeastEvaluation = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan MostEvaluation = TimeSpan.FromSeconds(60);
    private const double EvaluationPart = 0.15;

    /// <summary>The plan for a run that may take <paramref name="whole"/>.</summary>
    /// <param name="whole">From the command's start to its summary.</param>
    /// <param name="evaluate">Whether there is an evaluation at all.</param>
    public static TimePlan Split(TimeSpan whole, bool evaluate) =>
        new(evaluate ? whole - Clamp(whole * EvaluationPart, LeastEvaluation, MostEvaluation) : whole, whole);

    /// <summary>What is left for evaluation; never less than a few seconds, so that there is a result.</summary>
    /// <param name="elapsed">Since the command's start.</param>
    public TimeSpan EvaluationAfter(TimeSpan elapsed) => Whole - elapsed > LeastEvaluation ? Whole - elapsed : LeastEvaluation;

    /// <summary>
    /// How many images fit into <paramref name="time"/> when features come at <paramref name="imagesPerSecond"/>: the queries first, as far
    /// as they leave half of it to the bank.
    /// </summary>
    public static (int Bank, int Queries) ImagesThatFit(TimeSpan time, double imagesPerSecond, int bank, int queries, int leastBank, int leastQueries)
    {
        var images = time.TotalSeconds * imagesPerSecond;
        var asked = (int)Math.Clamp(images / 2, Math.Min(leastQueries, queries), queries);
        return ((int)Math.Clamp(images - asked, Math.Min(leastBank, bank), bank), asked);
    }

    private static TimeSpan Clamp(TimeSpan value, TimeSpan least, TimeSpan most) => value < least ? least : value > most ? most : value;
}

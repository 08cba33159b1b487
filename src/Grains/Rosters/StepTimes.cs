namespace DarkMatter.Grains;

/// <summary>
/// Sees the slow rank: the one for which the others wait, step after step. Ranks of one generation compute the same amount, so the median of the
/// others is what it should need. Remembers a few steps of each rank.
/// </summary>
public sealed class StepTimes
{
    /// <summary>Steps that are looked at; a rank is judged once it has so many.</summary>
    public const int Window = 5;

    /// <summary>Slow is who needs this many times the others' median.</summary>
    public const double SlowFactor = 1.5;

    /// <summary>Slow no more is who needs less than this many times.</summary>
    public const double RecoveredFactor = 1.25;

    private readonly Dictionary<string, Rank> _ranks = new(StringComparer.Ordinal);

    /// <summary>Whether a trainer is slow now.</summary>
    public bool IsSlow(string trainer) => _ranks.TryGetValue(trainer, out var rank) && rank.Slow;

    /// <summary>Seconds of a trainer's last step; 0 when not known.</summary>
    public double Last(string trainer) => _ranks.TryGetValue(trainer, out var rank) && rank.Seconds.Count > 0 ? rank.Seconds.Last() : 0;

    /// <summary>Takes a step's time in; a step that was taken in before, and a time that is not known, change nothing.</summary>
    public void Add(string trainer, long step, double seconds)
    {
        if (!_ranks.TryGetValue(trainer, out var rank))
        {
            _ranks.Add(trainer, rank = new Rank());
        }

        if (step > rank.Step && seconds > 0)
        {
            rank.Step = step;
            rank.Seconds.Enqueue(seconds);
            if (rank.Seconds.Count > Window)
            {
                rank.Seconds.Dequeue();
            }
        }
    }

    /// <summary>What changed: who is slow now, or no more, as a sentence for each. Each change is told once.</summary>
    public IReadOnlyList<string> Changes()
    {
        var known = _ranks.Where(r => r.Value.Seconds.Count == Window).Select(r => (r.Key, r.Value, Median: Median(r.Value.Seconds))).ToArray();
        var changes = new List<string>();
        foreach (var (name, rank, own) in known)
        {
            double[] others = [.. known.Where(r => r.Key != name).Select(r => r.Median)];
            double usual = others.Length == 0 ? own : Median(others);
            bool slow = own > usual * (rank.Slow ? RecoveredFactor : SlowFactor);
            if (slow != rank.Slow)
            {
                rank.Slow = slow;
                changes.Add(slow
                    ? FormattableString.Invariant($"{name} is slow: its steps compute for {own:0.###} s, those of the others for {usual:0.###} s.")
                    : FormattableString.Invariant($"{name} is as fast as the others again."));
            }
        }

        return changes;
    }

    // Of two in the middle the higher: one fast rank does not make the others slow.
    private static double Median(IReadOnlyCollection<double> values) => values.Order().ElementAt(values.Count / 2);

    private sealed class Rank
    {
        public long Step { get; set; }

        public Queue<double> Seconds { get; } = new();

        public bool Slow { get; set; }
    }
}

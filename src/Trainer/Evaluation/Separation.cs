namespace DarkMatter.Trainer.Evaluation;

/// <summary>How well energies tell pairs that match from pairs that do not.</summary>
public static class Separation
{
    /// <summary>
    /// The probability that a matching pair has less energy than another one, a tie counting half: the area under the ROC curve, exactly, as the
    /// Mann–Whitney statistic counts it. 1 separates perfectly, 0.5 is chance.
    /// </summary>
    /// <param name="matching">Energies of pairs that match, at least one; finite.</param>
    /// <param name="others">Energies of pairs that do not, at least one; finite.</param>
    /// <exception cref="ArgumentException">One of them is empty, or has a number that is none.</exception>
    public static double Auc(IReadOnlyList<double> matching, IReadOnlyList<double> others)
    {
        if (matching.Count == 0 || others.Count == 0)
            throw new ArgumentException($"a separation needs pairs of both kinds; there are {matching.Count} matching and {others.Count} others");
        if (matching.Concat(others).Any(energy => !double.IsFinite(energy)))
            throw new ArgumentException("an energy is not finite; the network diverged");
        double[] sorted = [.. others.Order()];
        return matching.Sum(energy => sorted.Length - ((Below(sorted, energy, orEqual: false) + Below(sorted, energy, orEqual: true)) / 2.0))
            / ((double)matching.Count * others.Count);
    }

    /// <summary>How many values are less than <paramref name="limit"/>, or equal to it.</summary>
    private static int Below(double[] sorted, double limit, bool orEqual)
    {
        var (low, high) = (0, sorted.Length);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (sorted[middle] < limit || (orEqual && sorted[middle] == limit))
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }
}

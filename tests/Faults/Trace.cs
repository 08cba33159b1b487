using System.Globalization;

namespace DarkMatter.Faults;

/// <summary>What a run has left: the loss of every step, and the keys of the images of every step as each trainer wrote them down.</summary>
/// <param name="Losses">Step by step.</param>
/// <param name="Parts">For every step the lines of the trainers that took part: consecutive images of the global batch.</param>
internal sealed record Trace(IReadOnlyList<double> Losses, IReadOnlyList<IReadOnlyList<string[]>> Parts)
{
    /// <summary>Reads <c>steps.csv</c> of a run and what <c>--record-keys</c> wrote into a folder.</summary>
    public static Trace Read(string run, string keys, int steps)
    {
        var parts = Enumerable.Range(0, steps).Select(_ => new List<string[]>()).ToList();
        foreach (var cells in Directory.GetFiles(keys).SelectMany(File.ReadLines).Select(line => line.Split('\t')))
        {
            // A trainer that is killed may leave half a line.
            if (int.TryParse(cells[0], NumberStyles.None, CultureInfo.InvariantCulture, out var step) && step <= steps)
                parts[step - 1].Add(cells[1..]);
        }

        return new Trace([.. File.ReadLines(Path.Combine(run, "steps.csv")).Skip(1).Select(line => double.Parse(line.Split(',')[1], CultureInfo.InvariantCulture))], parts);
    }

    /// <summary>
    /// Compares the images of every step, in their order, with those of a run of one trainer, whose lines are the whole batch. A part that stands
    /// elsewhere, or holds another image, is an error; what a trainer took to its grave is not there to compare.
    /// </summary>
    /// <returns>The steps of which every image was compared, and what is wrong.</returns>
    public (int Whole, IReadOnlyList<string> Wrong) CompareImages(Trace single)
    {
        var (whole, wrong) = (0, new List<string>());
        for (var step = 0; step < single.Parts.Count; step++)
        {
            var batch = single.Parts[step].Single();
            var compared = new bool[batch.Length];
            foreach (var part in Parts[step])
            {
                var at = part.Length == 0 ? -1 : Array.IndexOf(batch, part[0]);
                if (at < 0 || !batch.Skip(at).Take(part.Length).SequenceEqual(part))
                    wrong.Add($"step {step + 1}: {string.Join(' ', part)} is no part of {string.Join(' ', batch)}");
                else
                    Array.Fill(compared, true, at, part.Length);
            }

            whole += compared.All(image => image) ? 1 : 0;
        }

        return (whole, wrong);
    }

    /// <summary>How far this curve is from another, relative, up to each step: the root of the mean of the squares.</summary>
    public IReadOnlyList<double> DeviationFrom(Trace other)
    {
        var (sum, deviation) = (0.0, new double[Losses.Count]);
        for (var step = 0; step < Losses.Count; step++)
        {
            var relative = (Losses[step] - other.Losses[step]) / other.Losses[step];
            sum += relative * relative;
            deviation[step] = Math.Sqrt(sum / (step + 1));
        }

        return deviation;
    }
}

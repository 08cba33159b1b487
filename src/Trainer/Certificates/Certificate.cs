using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Certificates;

/// <summary>
/// Invariant 7 as a measurement: W ranks on a global batch compute the loss, every parameter's gradient and, update by update, the state that one
/// rank computes.
/// </summary>
/// <remarks>
/// The error of a tensor is ‖a − b‖ / max(‖b‖, ‖B‖/100): a of W ranks, b of one rank, B the tensor of the largest norm among those of its kind:
/// gradients, parameters, buffers of one name, momenta. Without the floor a gradient that is 0 but for rounding (a bias before a normalisation) would be
/// compared with that rounding. The error of whole numbers (counters, clusters) is the part of them that differ. The error of a loss is
/// |a − b| / max(|b|, 1). What is no number is infinitely far away. The largest error of all updates and of all ranks counts.
/// <para>
/// In float64 the worlds train freely: all that one update does wrong is in the next. In float32 two runs part within some updates, even two of one rank that
/// differ in one last bit; so there every update of W ranks begins from the state, momenta included, that one rank had before it: each is a measurement of
/// its own, at a rate that trains.
/// </para>
/// <para>
/// One thing remains that no rule of the distribution is the cause of: of some hundred thousand activations one lies so near 0, now and then, that the
/// rounding of a mean moves it to the other side, where ReLU's slope, and with it a hundredth of a gradient, is another; a cluster or a float16 can tip over
/// in the same way. (Batch norm adds up in double, so that the last bit of a mean rarely depends on who holds which images; where it does, this is what it
/// does.) It does not come back on other images, and a
/// mistake does. So a float32 update that is beyond tolerance is measured again, from the same state on other images, and must be within it there. No more
/// than <see cref="CertificateOptions.MostRepeated"/> updates and no error above <see cref="CertificateOptions.MostDismissed"/> are treated so, and the
/// row says how many there were and how large they were.
/// </para>
/// </remarks>
public static class Certificate
{
    internal const double Floor = 0.01;

    /// <summary>Certifies a setting: every precision with every world.</summary>
    /// <param name="certified">The setting.</param>
    /// <param name="options">Worlds, precisions, steps.</param>
    /// <param name="found">Told of each row as it is measured.</param>
    /// <exception cref="ArgumentException">The options have problems; all are named.</exception>
    /// <exception cref="AggregateException">A rank failed.</exception>
    public static async Task<IReadOnlyList<CertificateRow>> MeasureAsync(CertificateCase certified, CertificateOptions options, Action<CertificateRow>? found = null)
    {
        if (options.Problems().ToList() is { Count: > 0 } problems)
            throw new ArgumentException(string.Join("; ", problems), nameof(options));
        var rows = new List<CertificateRow>();
        foreach (var precision in options.Precisions)
        {
            using var run = new CertificateRun(certified, precision, options.Steps);
            foreach (var world in options.Worlds)
            {
                rows.Add(await MeasureAsync(certified.Name, precision, world, run));
                found?.Invoke(rows[^1]);
            }
        }

        return rows;
    }

    private static async Task<CertificateRow> MeasureAsync(string method, Precision precision, int world, CertificateRun run)
    {
        var tolerance = CertificateOptions.Tolerance(precision);
        var alone = precision == Precision.Float32;
        UpdateErrors[] errors = [.. await run.CompareAsync(world, run.Updates, alone)];
        var dismissed = new List<Deviation>();
        var doubted = Doubted();
        var repeats = alone && doubted.Count <= CertificateOptions.MostRepeated(errors.Length);
        for (var draw = 1; repeats && doubted.Count > 0 && draw <= CertificateOptions.MostDraws; draw++, doubted = Doubted())
        {
            dismissed.AddRange(doubted.Select(i => errors[i].Largest));
            foreach (var (i, again) in doubted.Zip(await run.CompareAsync(world, [.. doubted.Select(i => new UpdateKey(i, draw))], alone)))
                errors[i] = again with { Differs = again.Differs || errors[i].Differs };
        }

        // What goes wrong first says where; what follows may be anywhere.
        var failed = Array.FindIndex(errors, e => e.Largest.Relative > tolerance);
        UpdateErrors[] shown = failed < 0 ? errors : [errors[failed]];
        var differs = Array.FindIndex(errors, e => e.Differs);
        return new CertificateRow(
            method, precision, world, Deviation.Largest(shown.Select(e => e.Loss)), Deviation.Largest(shown.Select(e => e.Gradient)),
            Deviation.Largest(shown.Select(e => e.State)), tolerance)
        {
            Updates = errors.Length,
            Repeated = dismissed.Select(d => d.Update).Distinct().Count(),
            Dismissed = dismissed.Count > 0 ? Deviation.Largest(dismissed) : null,
            Differs = differs < 0 ? null : differs + 1,
        };

        // Beyond tolerance, but not so far that it must be a mistake.
        List<int> Doubted() => [.. Enumerable.Range(0, errors.Length).Where(i => errors[i].Largest.Relative is var e && e > tolerance && e <= CertificateOptions.MostDismissed)];
    }
}

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>Decides which checkpoints stay.</summary>
/// <param name="KeepLast">The newest so many stay. 1 and above, default 3.</param>
/// <param name="KeepEvery">Those whose step is a multiple of this stay for ever; 0: none does. Default 0.</param>
public sealed record CheckpointRetention(int KeepLast = 3, long KeepEvery = 0)
{
    /// <summary>
    /// The steps to delete, once <paramref name="newest"/> is published. Later steps are those of a branch that the run has left: they go
    /// when <paramref name="generationOf"/> says that an older generation wrote them.
    /// </summary>
    /// <param name="steps">All published steps, in any order.</param>
    /// <param name="newest">The step that was just published.</param>
    /// <param name="generation">The generation that published it.</param>
    /// <param name="generationOf">Who wrote a step; null when that cannot be known.</param>
    public IReadOnlyList<long> Expired(IEnumerable<long> steps, long newest, long generation, Func<long, long?> generationOf)
    {
        var all = steps.Distinct().Order().ToList();
        var past = all.Where(step => step <= newest).ToList();
        var old = past.Take(Math.Max(0, past.Count - KeepLast)).Where(step => KeepEvery == 0 || step % KeepEvery != 0);
        var left = all.Where(step => step > newest && generationOf(step) < generation);
        return [.. old, .. left];
    }
}

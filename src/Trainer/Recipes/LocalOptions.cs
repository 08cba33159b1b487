namespace DarkMatter.Trainer.Recipes;

/// <summary>Section <c>local</c>: how <c>darkmatter pretrain</c> runs a recipe on one machine. It never changes what is computed.</summary>
public sealed record LocalOptions
{
    /// <summary>Key <c>trainers</c>: trainer processes, 1 up to <c>data.lanes</c>. Default 2.</summary>
    public int Trainers { get; init; } = 2;

    /// <summary>
    /// Key <c>min_trainers</c>: with fewer than this the run ends, resumable, instead of going on with those that are left. Range 1 to
    /// <c>trainers</c>, default 1.
    /// </summary>
    public int MinTrainers { get; init; } = 1;

    /// <summary>Key <c>threads</c>: threads each trainer computes with; 0 shares the machine's cores among them. Range 0 to 1024, default 0.</summary>
    public int Threads { get; init; }

    /// <summary>
    /// Key <c>time</c>: what the whole of <c>pretrain</c> may take, from packing to the summary; the training budget follows from it.
    /// Default none.
    /// </summary>
    public TimeSpan? Time { get; init; }

    /// <summary>The threads of one trainer on a machine with this many cores.</summary>
    /// <param name="trainers">Trainer processes.</param>
    /// <param name="cores">Cores of the machine.</param>
    public int ThreadsPerTrainer(int trainers, int cores) => Threads > 0 ? Threads : Math.Max(1, cores / trainers);
}

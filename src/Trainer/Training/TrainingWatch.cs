using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// Looks at the embeddings of a step, every so many steps: all ranks give some of theirs, rank 0 judges. It reads what the step has computed anyway;
/// nothing that is trained, and no random state, depends on it.
/// </summary>
/// <param name="options">How often, and when it is a collapse.</param>
/// <param name="plateaus">Losses at which the method stands still.</param>
/// <param name="share">How the ranks share the global batch.</param>
/// <param name="ranks">The generation.</param>
public sealed class TrainingWatch(WatchOptions options, IReadOnlyList<Plateau> plateaus, RankShare share, ICollective ranks)
{
    /// <summary>Images that are looked at, of all ranks together: a few milliseconds, some hundred KB between the ranks.</summary>
    public const int MostImages = 256;

    private double _loss;
    private long _steps;
    private int _collapsed;

    /// <summary>Whether embeddings have been found collapsed so often, just now, that the recipe's <see cref="WatchOptions.OnCollapse"/> is due.</summary>
    public bool MustAct => _collapsed == options.Patience && options.OnCollapse != CollapseAction.Warn;

    /// <summary>Counts a step, and looks where one is due. A collective call then.</summary>
    /// <param name="step">Updates applied.</param>
    /// <param name="loss">Of the global batch.</param>
    /// <param name="embeddings">This rank's, view after view: unit rows [V·n, D].</param>
    /// <returns>What rank 0 found; null on other ranks and steps.</returns>
    /// <exception cref="CollectiveAbortedException">A rank was lost.</exception>
    public CollapseReport? After(long step, double loss, Tensor embeddings)
    {
        (_loss, _steps) = (_loss + loss, _steps + 1);
        if (options.Every == 0 || step % options.Every != 0)
            return null;
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        int[] counts = [.. share.Counts.Select(n => Math.Clamp((int)((long)MostImages * n / share.Total), 1, n))];
        var mine = counts[ranks.Rank];
        var pairs = cat([embeddings.narrow(0, 0, mine), embeddings.narrow(0, share.Count, mine)], 1);    // [m, 2D]
        var all = ranks.World == 1 ? pairs : ranks.AllGather(pairs.contiguous(), counts);                // [M, 2D]
        var mean = _loss / _steps;
        (_loss, _steps) = (0, 0);
        if (ranks.Rank != 0 || all.shape[0] < 2)
            return null;
        var views = all.chunk(2, 1);
        var report = CollapseWatch.Look(views[0], views[1], mean, plateaus);
        _collapsed = report.Health == EmbeddingHealth.Collapsed ? _collapsed + 1 : 0;
        return report;
    }
}

using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Evaluation;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// Looks at the embeddings of a step, every so many steps: all ranks give some of theirs, rank 0 judges. It reads what the step has computed anyway;
/// nothing that is trained, and no random state, depends on it.
/// </summary>
/// <param name="options">The run.</param>
/// <param name="state">What is trained, by which ranks, and what was found in generations before.</param>
public sealed class TrainingWatch(TrainOptions options, TrainState state)
{
    /// <summary>Images that are looked at, of all ranks together: a few milliseconds, some hundred KB between the ranks.</summary>
    public const int MostImages = 256;

    private double _loss;
    private long _steps;

    /// <summary>Counts the step just applied, and looks where one is due. A collective call then.</summary>
    /// <param name="loss">Of the global batch.</param>
    /// <param name="embeddings">This rank's, view after view, as the method shows them: [V·n, D].</param>
    /// <returns>What rank 0 found; null on other ranks and steps, and where there is nothing to judge: too few images, or nothing trained yet.</returns>
    /// <exception cref="CollectiveAbortedException">A rank was lost.</exception>
    public CollapseReport? After(double loss, Tensor embeddings)
    {
        var (every, step, share, ranks) = (options.Watch.Every, state.Step, state.Share, state.Ranks);
        var frozen = state.Optimizer.Frozen;
        if (every == 0 || frozen == state.Parameters.Count)
            return null;                                                      // the first weights are neither well nor ill
        (_loss, _steps) = (_loss + loss, _steps + 1);
        if (step % every != 0)
            return null;
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        int[] counts = [.. share.Counts.Select(n => Math.Clamp((int)((long)MostImages * n / share.Total), 1, n))];
        var mine = counts[ranks.Rank];
        var pairs = cat([embeddings.narrow(0, 0, mine), embeddings.narrow(0, share.Count, mine)], 1);    // [m, 2D]
        var all = ranks.World == 1 ? pairs : ranks.AllGather(pairs.contiguous(), counts);                // [M, 2D]
        var mean = _loss / _steps;
        (_loss, _steps) = (0, 0);
        if (ranks.Rank != 0 || all.shape[0] < CollapseWatch.FewestImages)
            return null;
        var (unit, size) = EmbeddingDiagnostics.Directions(cat(all.chunk(2, 1)), options.Method.Radius);    // [2M, D]
        var views = unit.chunk(2);
        var settled = frozen == 0 && step > options.Optimizer.Warmup * state.TotalSteps;
        return state.Looks.Judge(CollapseWatch.Look(views[0], views[1], size) with { Loss = mean }, settled);
    }
}

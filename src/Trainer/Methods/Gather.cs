using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;
using static TorchSharp.torch.autograd;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// Every rank's rows, for every rank to see, with the gradient that makes W ranks train as one: the gradients that all ranks have for
/// the gathered rows are summed, and each rank takes those of its own. (Taking them without the sum is the classic 1/W bug.)
/// Its loss must be a sum over local anchors divided by the global count, and parameter gradients summed over ranks.
/// </summary>
public sealed class Gather : SingleTensorFunction<Gather>
{
    /// <inheritdoc/>
    public override string Name => nameof(Gather);

    /// <summary>Stacks the ranks' rows: [n_r, D] → [Σ n, D]. On one rank it is the input itself.</summary>
    /// <param name="x">This rank's rows, float32 or float64.</param>
    /// <param name="ranks">The ranks.</param>
    /// <param name="rows">Rows of every rank.</param>
    public static Tensor Rows(Tensor x, ICollective ranks, IReadOnlyList<int> rows) =>
        ranks.World == 1 ? x : apply(x, ranks, rows);

    /// <inheritdoc/>
    public override Tensor forward(AutogradContext ctx, params object[] vars)
    {
        var (x, ranks, rows) = ((Tensor)vars[0], (ICollective)vars[1], (IReadOnlyList<int>)vars[2]);
        ctx.save_data("ranks", ranks);
        ctx.save_data("rows", rows);
        return ranks.AllGather(x, rows);
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(AutogradContext ctx, Tensor grad_output)
    {
        var ranks = (ICollective)ctx.get_data("ranks")!;
        var rows = (IReadOnlyList<int>)ctx.get_data("rows")!;
        using var sum = grad_output.contiguous().clone();
        ranks.AllReduceSum(sum);
        var mine = sum.narrow(0, rows.Take(ranks.Rank).Sum(), rows[ranks.Rank]);
        return [mine, null!, null!];
    }
}

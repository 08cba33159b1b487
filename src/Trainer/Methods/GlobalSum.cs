using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;
using static TorchSharp.torch.autograd;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// The sum of every rank's tensor, for every rank to see, with the gradient that makes W ranks train as one: each rank's loss depends on each
/// rank's summand, so the gradients of all ranks for the sum are summed. Its loss must be this rank's summand of the global loss.
/// </summary>
public sealed class GlobalSum : SingleTensorFunction<GlobalSum>
{
    /// <inheritdoc/>
    public override string Name => nameof(GlobalSum);

    /// <summary>Σ over the ranks of x, any shape, the same on all. On one rank it is the input itself.</summary>
    public static Tensor Of(Tensor x, ICollective ranks) => ranks.World == 1 ? x : apply(x, ranks);

    /// <inheritdoc/>
    public override Tensor forward(AutogradContext ctx, params object[] vars)
    {
        var ranks = (ICollective)vars[1];
        ctx.save_data("ranks", ranks);
        return Summed((Tensor)vars[0], ranks);
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(AutogradContext ctx, Tensor grad_output) =>
        [Summed(grad_output, (ICollective)ctx.get_data("ranks")!), null!];

    private static Tensor Summed(Tensor x, ICollective ranks)
    {
        var sum = x.detach().contiguous().clone();
        ranks.AllReduceSum(sum);
        return sum;
    }
}

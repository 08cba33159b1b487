using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Evaluation;

[Collection(TorchCollection.Name)]
public sealed class LbfgsTests
{
    [Fact]
    public void Minimize_IllConditionedBowl_FindsItsBottom()
    {
        using var scope = NewDisposeScope();
        var bowl = new Bowl();
        var steps = new List<int>();
        var found = Lbfgs.Minimize(bowl, full([Bowl.Size], 3.0, dtype: ScalarType.Float64), 1e-9, steps.Add, CancellationToken.None);
        (found.Place - 1).abs().max().item<double>().ShouldBeLessThan(1e-4);
        found.Excess.ShouldBeLessThanOrEqualTo(1e-9 * found.Value);
        steps.ShouldBe([.. Enumerable.Range(1, found.Iterations)]);
        found.Iterations.ShouldBeLessThan(300);
        var silent = Lbfgs.Minimize(bowl, full([Bowl.Size], 3.0, dtype: ScalarType.Float64), 1e-9, null, CancellationToken.None);
        silent.Iterations.ShouldBe(found.Iterations, "steps count also where nobody listens");
        Lbfgs.Minimize(bowl, full([Bowl.Size], 3.0, dtype: ScalarType.Float64), 1e-9, null, CancellationToken.None, most: 7).Iterations.ShouldBe(7);
    }

    [Fact]
    public void Minimize_ToleranceBelowRounding_EndsAndTellsWhere()
    {
        using var scope = NewDisposeScope();
        var found = Lbfgs.Minimize(new Bowl(), zeros(Bowl.Size, dtype: ScalarType.Float64), 0, null, CancellationToken.None);
        found.Value.ShouldBe(1, 1e-12);
        found.Excess.ShouldBeInRange(0, 1e-9, "no step that rounding hides is counted as one for ever");
    }

    [Fact]
    public void Minimize_AtTheBottom_TakesNoStep() =>
        Lbfgs.Minimize(new Bowl(), ones(Bowl.Size, dtype: ScalarType.Float64), 1e-12, null, CancellationToken.None).Iterations.ShouldBe(0);

    [Fact]
    public void Minimize_LongSearch_KeepsTheResultOnly()
    {
        using var scope = NewDisposeScope();
        var bowl = new Bowl();
        var start = zeros(Bowl.Size, dtype: ScalarType.Float64);
        var before = scope.DisposablesCount;
        Lbfgs.Minimize(bowl, start, 1e-12, null, CancellationToken.None);
        scope.DisposablesCount.ShouldBe(before + 1);
    }

    /// <summary>1 + ½ Σ cᵢ (xᵢ − 1)², c from 1 to 10³, of which nothing but the largest is told.</summary>
    private sealed class Bowl : IConvexObjective
    {
        public const int Size = 40;
        private const double Steepest = 1e3;
        private readonly Tensor curvature = exp(linspace(0, Math.Log(Steepest), Size, dtype: ScalarType.Float64));

        public (double Value, Tensor Gradient) At(Tensor place)
        {
            using var scope = NewDisposeScope();
            var gradient = curvature * (place - 1);
            return (1 + ((gradient * (place - 1)).sum().item<double>() / 2), gradient.MoveToOuterDisposeScope());
        }

        public double Excess(Tensor gradient)
        {
            using var scope = NewDisposeScope();
            return gradient.square().sum().item<double>() / 2;
        }

        public Tensor Preconditioned(Tensor gradient) => gradient / Steepest;
    }
}

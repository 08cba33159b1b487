using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Evaluation;

[Collection(TorchCollection.Name)]
public sealed class CollapseWatchTests
{
    private const int N = 200, D = 16;

    [Fact]
    public void Look_RandomDirections_IsHealthyWithTheNumbersOfAnEvenSpread()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        var x = Unit(randn(N, D));
        var report = CollapseWatch.Look(x, Unit(x + (0.05 * randn(N, D))));
        report.Health.ShouldBe(EmbeddingHealth.Healthy, report.Reason);
        report.Reason.ShouldBe("");
        report.Std.ShouldBe(1 / Math.Sqrt(D), 0.02);
        report.EffectiveRank.ShouldBeInRange(14, 16);
        report.Alignment.ShouldBeLessThan(0.1);
        report.Uniformity.ShouldBeInRange(-4, -3);
    }

    [Fact]
    public void Look_TwoKnownPairs_HasTheNumbersWrittenOut()
    {
        using var scope = NewDisposeScope();
        var x = Rows.Tensor([[1, 0], [0, 1]]);
        var report = CollapseWatch.Look(x, Rows.Tensor([[0, 1], [0, 1]]));
        report.Alignment.ShouldBe(1, 1e-12, "squared distances 2 and 0");
        report.Uniformity.ShouldBe(-4, 1e-12, "the one pair is √2 apart");
        report.Std.ShouldBe(Math.Sqrt(0.5), 1e-12);
        report.EffectiveRank.ShouldBe(2, 1e-5);
    }

    [Fact]
    public void Look_OnePointWithALittleNoise_IsCollapsedAndSaysWhatToDo()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        var x = Unit(ones(1, D) + (0.01 * randn(N, D)));
        var report = CollapseWatch.Look(x, x);
        report.Health.ShouldBe(EmbeddingHealth.Collapsed);
        report.Reason.ShouldContain("nearly one point");
        report.Reason.ShouldContain("stop-gradient");
        report.Uniformity.ShouldBe(0, 0.01);
    }

    [Fact]
    public void Look_TwoOppositePoints_IsALineThoughItsSpreadIsFull()
    {
        using var scope = NewDisposeScope();
        var sign = tensor(Enumerable.Range(0, N).Select(i => i % 2 == 0 ? 1f : -1f).ToArray()).unsqueeze(1);
        var x = sign * Unit(ones(1, D));
        var report = CollapseWatch.Look(x, x);
        (report.Health, report.EffectiveRank).ShouldBe((EmbeddingHealth.Collapsed, report.EffectiveRank));
        report.EffectiveRank.ShouldBe(1, 0.01);
        report.Reason.ShouldContain("lie on a line");
    }

    [Theory]
    [InlineData(1.0, 12, EmbeddingHealth.Healthy)]
    [InlineData(0.3, 12, EmbeddingHealth.Warning)]
    [InlineData(1.0, 3, EmbeddingHealth.Warning)]
    [InlineData(0.05, 12, EmbeddingHealth.Collapsed)]
    [InlineData(double.NaN, 12, EmbeddingHealth.Collapsed)]
    public void Judge_SpreadAndRank_GiveTheVerdict(double spread, double rank, EmbeddingHealth expected) =>
        CollapseWatch.Judge(spread, rank, most: 16).Health.ShouldBe(expected);

    [Fact]
    public void Look_MoreDimensionsThanImages_HasTheRankOfTheSingularValues()
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        foreach (var shape in (long[][])[[12, 40], [40, 12]])
        {
            var x = Unit(randn(shape, dtype: ScalarType.Float64));
            CollapseWatch.Look(x, x).EffectiveRank.ShouldBe(CollapseWatch.EffectiveRank(linalg.svdvals(x).data<double>().ToArray()), 1e-6);
        }
    }

    [Fact]
    public void Look_EvenSpreadButLossAtChance_WarnsWithThePlateau()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        var x = Unit(randn(N, D));
        Plateau[] chance = [new(Math.Log(511), "ln(2N − 1): all alike")];
        CollapseWatch.Look(x, x, 5.9, chance).Verdict.ShouldBe("healthy");
        CollapseWatch.Look(x, x, double.NaN, chance).Verdict.ShouldBe("healthy");
        CollapseWatch.Look(x, x, 6.23, chance).Verdict.ShouldStartWith("warning: the loss stands at 6.230, near 6.236 = ln(2N − 1): all alike: raise optimizer.lr");
    }

    [Fact]
    public void Look_NotFinite_IsCollapsed()
    {
        using var scope = NewDisposeScope();
        CollapseWatch.Look(full(4, 3, double.NaN), full(4, 3, double.NaN)).Verdict.ShouldBe("collapsed: embeddings are not finite: lower optimizer.lr");
    }

    [Theory]
    [MemberData(nameof(MethodsWithPlateaus))]
    public void Plateaus_OfEveryMethod_AreFiniteWithAMeaning(string method) =>
        MethodRegistry.Defaults(method).Plateaus(256).ShouldAllBe(p => double.IsFinite(p.Loss) && p.Meaning.Length > 10);

    public static TheoryData<string> MethodsWithPlateaus => [.. MethodRegistry.Names.Where(name => MethodRegistry.Defaults(name).Plateaus(256).Count > 0)];

    [Fact]
    public void Look_SingleImageOrOtherShapes_IsRefused()
    {
        using var scope = NewDisposeScope();
        Should.Throw<ArgumentException>(() => CollapseWatch.Look(ones(1, D), ones(1, D))).Message.ShouldContain("at least 2 images");
        Should.Throw<ArgumentException>(() => CollapseWatch.Look(ones(3, D), ones(2, D))).Message.ShouldContain("[3, 16] and [2, 16]");
    }

    private static Tensor Unit(Tensor z) => nn.functional.normalize(z, dim: 1);
}

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
        var report = CollapseWatch.Look(x, Rows.Tensor([[1, 0], [0, -1]]));
        report.Alignment.ShouldBe(2, 1e-12, "squared distances 0 and 4");
        report.Apart.ShouldBe(2, 1e-12, "both times");
        report.Uniformity.ShouldBe(-4, 1e-12, "the one pair is √2 apart");
        report.Std.ShouldBe(Math.Sqrt(0.5), 1e-12);
        report.EffectiveRank.ShouldBe(2, 1e-5);
        report.Participation.ShouldBe(1, 1e-12, "two points are on a line");
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
        report.Health.ShouldBe(EmbeddingHealth.Collapsed, report.ToString());
        report.EffectiveRank.ShouldBe(1, 0.01);
        report.Participation.ShouldBe(1, 1e-6);
        report.Reason.ShouldContain("lie on a line");
    }

    [Fact]
    public void Look_NineTenthsOfTheEnergyOnALine_IsALineThoughRankMeIsHigh()
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        var sides = randn(256, 1).sign() * Unit(ones(1, 128));
        var x = Unit((Math.Sqrt(0.91) * sides) + (Math.Sqrt(0.09 / 128) * randn(256, 128)));
        var report = CollapseWatch.Look(x, x);
        report.Health.ShouldBe(EmbeddingHealth.Collapsed, report.ToString());
        report.Reason.ShouldContain("lie on a line (variance in 1.2 of 128 dimensions)");
        report.EffectiveRank.ShouldBeGreaterThan(50);
    }

    [Fact]
    public void Look_EvenSpreadAroundALongMean_IsNoLine()
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        var x = Unit((2 * Unit(ones(1, D))) + Unit(randn(N, D)));             // as fresh networks have it
        var report = CollapseWatch.Look(x, x);
        report.Health.ShouldBe(EmbeddingHealth.Healthy, report.ToString());
        report.Participation.ShouldBeGreaterThan(10);
    }

    [Fact]
    public void Look_OneOfTheViewsIsAPoint_IsCollapsedAndNamesIt()
    {
        using var scope = NewDisposeScope();
        manual_seed(6);
        var (x, point) = (Unit(randn(N, D)), Unit(ones(1, D) + (0.01 * randn(N, D))));
        CollapseWatch.Look(x, point).Verdict.ShouldStartWith("collapsed: all embeddings of view 2 are nearly one point");
        CollapseWatch.Look(point, x).Verdict.ShouldStartWith("collapsed: all embeddings of view 1 are nearly one point");
        CollapseWatch.Look(point, point).Verdict.ShouldStartWith("collapsed: all embeddings are nearly one point");
    }

    [Fact]
    public void Look_PlacesAroundAnOffset_AreJudgedAroundItAndByTheirLength()
    {
        using var scope = NewDisposeScope();
        manual_seed(7);
        CollapseReport Of(Tensor places)
        {
            var (unit, size) = EmbeddingDiagnostics.Directions(places, radius: Math.Sqrt(D));
            return CollapseWatch.Look(unit, unit, size);
        }

        Of(100 + randn(N, D)).Verdict.ShouldBe("healthy", "a shift of all is nothing to the loss");
        Of(100 + randn(N, D)).Spread.ShouldBe(1, 0.05);
        Of(100 + (0.01 * randn(N, D))).Verdict.ShouldStartWith("collapsed: all embeddings are nearly one point (spread 2");
        CollapseWatch.Look(Unit(100 + randn(N, D)), Unit(100 + randn(N, D))).Health.ShouldBe(EmbeddingHealth.Collapsed, "as directions they are a point");
    }

    [Theory]
    [InlineData(1.0, 12, 16, EmbeddingHealth.Healthy)]
    [InlineData(0.3, 12, 16, EmbeddingHealth.Warning)]
    [InlineData(1.0, 1.8, 16, EmbeddingHealth.Healthy)]
    [InlineData(1.0, 1.6, 16, EmbeddingHealth.Warning)]
    [InlineData(1.0, 1.6, 3, EmbeddingHealth.Healthy)]
    [InlineData(1.0, 1.2, 16, EmbeddingHealth.Collapsed)]
    [InlineData(0.05, 12, 16, EmbeddingHealth.Collapsed)]
    [InlineData(double.NaN, 12, 16, EmbeddingHealth.Collapsed)]
    public void Judge_SpreadAndParticipation_GiveTheVerdict(double spread, double participation, double most, EmbeddingHealth expected) =>
        CollapseWatch.Judge(spread, participation, most).Health.ShouldBe(expected);

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
    public void Look_NotFinite_IsCollapsed()
    {
        using var scope = NewDisposeScope();
        CollapseWatch.Look(full(4, 3, double.NaN), full(4, 3, double.NaN)).Verdict.ShouldBe("collapsed: embeddings are not finite: lower optimizer.lr");
    }

    [Theory]
    [MemberData(nameof(MethodsWithPlateaus))]
    public void Plateaus_OfEveryMethod_HaveARangeAMeaningAndARemedy(string method) =>
        MethodRegistry.Defaults(method).Plateaus(256).ShouldAllBe(p => double.IsFinite(p.Loss) && p.Tolerance > 0 && p.Meaning.Length > 10 && p.Remedy.Length > 10);

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

using DarkMatter.Trainer.Optimizers;

namespace DarkMatter.Trainer.Tests.Optimizers;

public sealed class ScheduleTests
{
    private static readonly OptimizerOptions Options = new() { LearningRate = 2, Warmup = 0.1 };

    [Theory]
    [InlineData(0, 0.2)]        // 2 · 1/10
    [InlineData(4, 1.0)]        // 2 · 5/10
    [InlineData(9, 2.0)]        // the last warm-up step reaches the peak
    [InlineData(10, 2.0)]       // cos 0
    [InlineData(55, 1.0)]       // half of the 90 cosine steps: cos π/2
    [InlineData(40, 1.5)]       // a third: ½(1 + cos π/3) = ¾
    [InlineData(99, 0.000609234)] // 2 · ½(1 + cos(89π/90))
    public void At_HundredStepsTenOfThemWarmUp_IsLinearThenCosine(long step, double expected) =>
        new Schedule(Options, 100).At(step).ShouldBe(expected, 1e-6);

    [Fact]
    public void At_WithoutWarmUp_StartsAtThePeak() =>
        new Schedule(Options with { Warmup = 0 }, 100).At(0).ShouldBe(2);

    [Fact]
    public void At_WithAnEnd_NeverFallsBelowIt()
    {
        var schedule = new Schedule(Options with { FinalLearningRate = 0.25 }, 1000);
        Enumerable.Range(100, 900).Select(s => schedule.At(s)).Min().ShouldBe(0.5, 1e-4);
        schedule.At(5000).ShouldBe(0.5, "past the plan the rate stays at its end");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    public void At_VeryFewSteps_IsPositiveAndAtMostThePeak(long total)
    {
        var schedule = new Schedule(Options with { Warmup = 0.5 }, total);
        for (var step = 0; step < total; step++)
            schedule.At(step).ShouldBeInRange(1e-9, 2);
    }

    [Fact]
    public void Constructor_NoSteps_IsRefused() =>
        Should.Throw<ArgumentOutOfRangeException>(() => new Schedule(Options, 0)).Message.ShouldContain("at least one step");

    [Theory]
    [InlineData(0, 1.0)]
    [InlineData(119, 1.0)]
    [InlineData(120, 0.1)]
    [InlineData(160, 0.01)]
    [InlineData(199, 0.01)]
    public void Milestones_OfMoCoV1_DivideByTenAtSixAndEightTenths(long step, double expected) =>
        new Schedule(new OptimizerOptions { LearningRate = 1, Warmup = 0, Decay = RateDecay.Milestones }, 200).At(step).ShouldBe(expected, 1e-12);

    [Fact]
    public void WarmupFrom_AboveZero_RisesFromThereToThePeak()
    {
        var schedule = new Schedule(new OptimizerOptions { LearningRate = 4, Warmup = 0.5, WarmupFrom = 0.5 }, 8);
        Enumerable.Range(0, 4).Select(step => schedule.At(step)).ShouldBe([2.5, 3, 3.5, 4], 1e-12);
    }

    /// <summary>DeepCluster-v2's first epoch fills its memory and trains nothing.</summary>
    [Fact]
    public void UntrainedSteps_AtTheStart_ComeBeforeTheSchedule()
    {
        var options = Options with { FinalWeightDecay = 1 };
        var (late, plain) = (new Schedule(options, 140, untrainedSteps: 40), new Schedule(options, 100));
        for (var step = 0; step < 100; step++)
        {
            late.At(40 + step).ShouldBe(plain.At(step), 1e-12);
            late.WeightDecayAt(40 + step).ShouldBe(plain.WeightDecayAt(step), 1e-12);
        }

        late.At(3).ShouldBe(plain.At(0));
        new Schedule(Options, 10, untrainedSteps: 50).At(9).ShouldBeInRange(0, 2, "a run that ends before anything is trained");
    }

    [Fact]
    public void WeightDecay_OfDino_RisesAlongHalfACosine()
    {
        var schedule = new Schedule(new OptimizerOptions { WeightDecay = 0.04, FinalWeightDecay = 0.4 }, 100);
        schedule.WeightDecayAt(0).ShouldBe(0.04, 1e-12);
        schedule.WeightDecayAt(50).ShouldBe(0.22, 1e-12);
        schedule.WeightDecayAt(100).ShouldBe(0.4, 1e-12);
        new Schedule(new OptimizerOptions { WeightDecay = 0.04 }, 100).WeightDecayAt(70).ShouldBe(0.04, 1e-12);
    }
}

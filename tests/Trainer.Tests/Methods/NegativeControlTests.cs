using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;

namespace DarkMatter.Trainer.Tests.Methods;

/// <summary>
/// What each method needs in order to learn, shown by taking it away: with the control it must fail, and without it it must not. The collapse watch
/// sees those that end in a point or on a line. It cannot see SwAV's and VICReg's: they end in numbers that are none, which ends the run itself.
/// </summary>
[Collection(TorchCollection.Name)]
public sealed class NegativeControlTests
{
    [Fact]
    public void Byol_WithoutStopGradient_IsAPoint()
    {
        var options = new ByolOptions { Hidden = 32, ProjectorOutput = 16, Momentum = 0.9 };
        Learns(options, rate: 0.1, steps: 60).Spread.ShouldBeGreaterThan(0.2);
        var control = Trial.Run(options with { StopGradient = false }, 0.1, 60);
        control.Spread.ShouldBeLessThan(0.1, $"{control}");
        control.Losses[^1].ShouldBeLessThan(0.02, "a loss of 0 says nothing about the images");
        control.Verdict.ShouldStartWith("collapsed: all embeddings are nearly one point");
        control.Verdict.ShouldContain("; the loss stands at 0.00");
        control.Acts.ShouldBeGreaterThan(0, $"{control}");
    }

    [Fact]
    public void SimSiam_WithoutStopGradient_HasTheLossOfACollapse()
    {
        var options = new SimSiamOptions { ProjectorOutput = 32, PredictorHidden = 8 };
        var healthy = Learns(options, rate: 0.05, steps: 60);
        healthy.Losses[^1].ShouldBeGreaterThan(-0.9, $"{healthy}");
        var control = Trial.Run(options with { StopGradient = false }, 0.05, 100);
        control.Losses[^1].ShouldBeLessThan(-0.93, $"{control}");
        control.Found.ShouldBeLessThan(healthy.Found - 0.1, $"{healthy}; control: {control}");
        // The last normalisation holds every dimension's spread: it is no point, but comes down to a line.
        control.Looks.TakeLast(4).ShouldAllBe(look => look.Health > EmbeddingHealth.Healthy && look.Reason.Contains("variance in 1."), $"{control}");
        healthy.Looks.ShouldAllBe(look => look.Health == EmbeddingHealth.Healthy, $"{healthy}");
    }

    [Fact]
    public void MoCo_WithoutMomentum_StaysAtChanceInAPoint()
    {
        // The keys move as fast as the queries: those in the queue are of other networks, and what tells images apart in one does not in the next.
        var options = new MoCoOptions { Queue = 64, Momentum = 0.99, ProjectorOutput = 16, ShuffleGroups = 0 };
        var healthy = Trial.Run(options, 0.01, 200);
        healthy.Losses[^1].ShouldBeLessThan(2.5, $"{healthy}");
        healthy.Spread.ShouldBeGreaterThan(0.8, $"{healthy}");
        healthy.Found.ShouldBeGreaterThan(0.5, $"{healthy}");
        healthy.Acts.ShouldBe(0, $"{healthy}");
        var control = Trial.Run(options with { Momentum = 0 }, 0.01, 200);
        control.Losses[^1].ShouldBe(Math.Log(options.Queue + 1), 0.05, $"{control}");
        control.Spread.ShouldBeLessThan(0.1, $"{control}");
        control.Found.ShouldBeLessThan(0.3, $"{control}");
        control.Verdict.ShouldStartWith("collapsed: all embeddings are nearly one point");
        control.Verdict.ShouldContain("; the loss stands at 4.17");
        control.Acts.ShouldBeGreaterThan(0, $"{control}");
    }

    [Fact]
    public void Triplet_HardestNegatives_PullEverythingTogetherUntilTheLossIsTheMargin()
    {
        var options = new TripletOptions { ProjectorOutput = 16 };
        Learns(options, rate: 0.5, steps: 80).Spread.ShouldBeGreaterThan(0.6);
        var control = Trial.Run(options with { HardestNegative = true }, 0.5, 80);
        control.Spread.ShouldBeLessThan(0.3, $"{control}");
        control.Losses[^1].ShouldBe(options.Margin, 0.04, $"{control}");
        control.Verdict.ShouldStartWith("collapsed: all embeddings are nearly one point");
        control.Verdict.ShouldContain("; the loss stands at 0.2");
        control.Acts.ShouldBeGreaterThan(0, $"{control}");
    }

    [Fact]
    public void SwAv_WithoutNormalizedPrototypes_GrowsThemUntilCodesAreNoNumbers()
    {
        var options = new SwAvOptions { Prototypes = 16, FreezeSteps = 0, ProjectorHidden = 32, ProjectorOutput = 16 };
        Learns(options, rate: 0.5, steps: 60).Spread.ShouldBeGreaterThan(0.5);
        var control = Trial.Run(options with { NormalizePrototypes = false }, 0.5, 60);
        control.Finite.ShouldBeFalse($"{control}");
        control.Acts.ShouldBe(0, "there is nothing to look at");
    }

    [Fact]
    public void VicReg_VarianceAndCovarianceOfAHundred_DoNotSurviveTheRateAtWhichItLearns()
    {
        var options = new VicRegOptions { ProjectorHidden = 32, ProjectorOutput = 16 };
        Learns(options, rate: 0.02, steps: 40).Found.ShouldBeGreaterThan(0.3);
        var control = Trial.Run(options with { Variance = 100, Covariance = 100 }, 0.02, 40);
        control.Finite.ShouldBeFalse($"{control}");
        control.Acts.ShouldBe(0, "there is nothing to look at");
    }

    private static Trial.Outcome Learns(MethodOptions options, double rate, int steps)
    {
        var outcome = Trial.Run(options, rate, steps);
        outcome.Finite.ShouldBeTrue($"{outcome}");
        outcome.Losses[^1].ShouldBeLessThan(outcome.Losses[0], $"{outcome}");
        outcome.Acts.ShouldBe(0, $"{outcome}");
        return outcome;
    }
}

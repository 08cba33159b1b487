using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Training;

public sealed class StepPlanTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact]
    public void Decide_OneSecondPerStep_FillsThePlannedPartOfTheBudget() =>
        StepPlan.Decide(limit: 10_000, done: 12, elapsed: 12 * Second, [Second, Second], budget: 100 * Second)
            .ShouldBe(97, "0.97 · 100 s leave 85 s after the 12 that are gone");

    [Fact]
    public void Decide_MoreTimeThanSteps_KeepsTheRecipesLimit() =>
        StepPlan.Decide(limit: 50, done: 12, elapsed: 12 * Second, [Second], budget: 1000 * Second).ShouldBe(50);

    [Fact]
    public void Decide_BudgetAlreadySpent_TakesOneMoreStep() =>
        StepPlan.Decide(limit: 50, done: 12, elapsed: 12 * Second, [Second], budget: Second).ShouldBe(13);

    [Fact]
    public void Decide_StepsOfNoMeasurableTime_KeepsTheLimit() =>
        StepPlan.Decide(limit: 50, done: 12, elapsed: Second, [TimeSpan.Zero], budget: 10 * Second).ShouldBe(50);

    [Fact]
    public void Decide_FirstHalfOfTheStepsIsSlow_TheLaterHalfCounts() =>
        StepPlan.Decide(limit: 10_000, done: 14, elapsed: 20 * Second, [3 * Second, 3 * Second, Second, Second], budget: 100 * Second).ShouldBe(91);

    [Fact]
    public void StepsStillToMeasure_UntilAPartOfTheBudgetWentBy()
    {
        StepPlan.StepsStillToMeasure(elapsed: 2 * Second, [Second / 2, Second / 2], budget: 100 * Second).ShouldBe(8, "0.06 · 100 s, 2 s gone, half a second each");
        StepPlan.StepsStillToMeasure(elapsed: 7 * Second, [Second], budget: 100 * Second).ShouldBe(0);
    }
}

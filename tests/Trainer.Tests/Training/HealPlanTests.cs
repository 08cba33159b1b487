using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Training;

public sealed class HealPlanTests
{
    [Fact]
    public void Decide_NobodyHasAnything_StartsFreshFromRankZero()
    {
        var plan = HealPlan.Decide([RankState.None, RankState.None, RankState.None], checkpoint: null);
        (plan.Source, plan.Step, plan.Generation).ShouldBe((HealSource.Fresh, 0, 0));
        plan.Donors.ShouldBe([0]);
        plan.Receivers.ShouldBe([1, 2]);
    }

    [Fact]
    public void Decide_OnlyACheckpoint_RankZeroReadsIt()
    {
        var plan = HealPlan.Decide([RankState.None, RankState.None], new SavedState(Generation: 4, Step: 500));
        (plan.Source, plan.Generation, plan.Step).ShouldBe((HealSource.Checkpoint, 4, 500));
        plan.Donors.ShouldBe([0]);
    }

    [Fact]
    public void Decide_OneRankAStepAhead_IsTheTruthAndTheOthersHeal()
    {
        var plan = HealPlan.Decide([Held(3, 41, 7), Held(3, 42, 8), RankState.None], new SavedState(3, 40));
        (plan.Source, plan.Step, plan.Hash).ShouldBe((HealSource.Memory, 42, 8ul));
        plan.Donors.ShouldBe([1]);
        plan.Receivers.ShouldBe([0, 2]);
        plan.Differing.ShouldBeEmpty();
    }

    [Fact]
    public void Decide_ZombieWithMoreStepsOfAnOldGeneration_LosesToThoseWhoWentOn()
    {
        var plan = HealPlan.Decide([Held(2, 900, 1), Held(5, 310, 2), Held(5, 310, 2)], checkpoint: null);
        plan.Step.ShouldBe(310);
        plan.Donors.ShouldBe([1, 2]);
        plan.Receivers.ShouldBe([0]);
    }

    [Fact]
    public void Decide_ZombieAgainstACheckpointOfANewerGeneration_Loses() =>
        HealPlan.Decide([Held(2, 900, 1)], new SavedState(5, 300)).Source.ShouldBe(HealSource.Checkpoint);

    [Fact]
    public void Decide_CheckpointOfTheSameStep_MemoryWins() =>
        HealPlan.Decide([Held(2, 100, 1)], new SavedState(2, 100)).Source.ShouldBe(HealSource.Memory);

    [Fact]
    public void Decide_RankThatMissedTheBeginning_IsADonorByItsBits()
    {
        var plan = HealPlan.Decide([Held(5, 310, 2), Held(4, 310, 2), Held(4, 310, 3)], checkpoint: null);
        plan.Donors.ShouldBe([0, 1]);
        plan.Receivers.ShouldBe([2]);
        plan.Differing.ShouldBeEmpty("rank 2 does not claim to be in generation 5");
    }

    [Fact]
    public void Decide_DifferentHashesOfOneStep_TheMostFrequentIsTheTruth()
    {
        var plan = HealPlan.Decide([Held(5, 310, 9), Held(5, 310, 2), Held(5, 310, 2)], checkpoint: null);
        plan.Donors.ShouldBe([1, 2]);
        plan.Differing.ShouldBe([0]);
    }

    [Fact]
    public void Decide_TieOfHashes_TheLowestRanksIsTheTruth() =>
        HealPlan.Decide([Held(5, 310, 9), Held(5, 310, 2), Held(5, 310, 2), Held(5, 310, 9)], checkpoint: null).Donors.ShouldBe([0, 3]);

    [Fact]
    public void Decide_AnyStates_EveryRankHasOrGetsTheTruth()
    {
        var random = new Random(1);
        for (var i = 0; i < 10_000; i++)
        {
            var ranks = Enumerable.Range(0, random.Next(1, 6))
                .Select(_ => random.Next(4) == 0 ? RankState.None : Held(random.Next(3), random.Next(3), (ulong)random.Next(2))).ToList();
            SavedState? saved = random.Next(2) == 0 ? null : new SavedState(random.Next(3), random.Next(3));
            var plan = HealPlan.Decide(ranks, saved);
            plan.Donors.Concat(plan.Receivers).Order().ShouldBe(Enumerable.Range(0, ranks.Count));
            plan.Donors.ShouldNotBeEmpty();
            foreach (var held in ranks.Where(r => r.Holds).Select(r => (r.Generation, r.Step)).Concat(saved is { } s ? [(s.Generation, s.Step)] : []))
                (plan.Generation, plan.Step).CompareTo(held).ShouldBeGreaterThanOrEqualTo(0);
        }
    }

    [Theory]
    [InlineData(new ulong[] { 1, 1, 1 }, new int[0])]
    [InlineData(new ulong[] { 1 }, new int[0])]
    [InlineData(new ulong[] { 1, 2, 1 }, new[] { 1 })]
    [InlineData(new ulong[] { 1, 2 }, new[] { 0, 1 })]
    [InlineData(new ulong[] { 1, 1, 2, 2 }, new[] { 0, 1, 2, 3 })]
    [InlineData(new ulong[] { 1, 3, 2, 2 }, new[] { 0, 1 })]
    public void Tainted_Hashes_AreThoseOutsideTheLargestGroup(ulong[] hashes, int[] tainted) => HealPlan.Tainted(hashes).ShouldBe(tainted);

    private static RankState Held(long generation, long step, ulong hash) => new(generation, step, hash, Holds: true);
}

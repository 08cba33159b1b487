namespace DarkMatter.Grains.Tests;

public sealed class StateHashesTests
{
    private static StateHash At(long step, string hash) => new() { Step = step, Hash = hash };

    [Fact]
    public void Add_EqualHashes_AreAgreed_InAnyOrder()
    {
        var hashes = new StateHashes(2);
        hashes.Add(0, At(10, "a")).ShouldBeNull();
        hashes.Add(0, At(20, "b")).ShouldBeNull();
        hashes.AgreedStep.ShouldBe(0);
        hashes.Add(1, At(10, "a")).ShouldBeNull();
        hashes.AgreedStep.ShouldBe(10);
        hashes.Add(1, At(20, "b")).ShouldBeNull();
        hashes.AgreedStep.ShouldBe(20);
    }

    [Fact]
    public void Add_DifferentHash_NamesStepAndRanks()
    {
        var hashes = new StateHashes(3);
        hashes.Add(2, At(10, "aa")).ShouldBeNull();
        hashes.Add(0, At(10, "aa")).ShouldBeNull();
        hashes.Add(1, At(10, "bb")).ShouldNotBeNull().ShouldStartWith(
            "The trainers' states differ after step 10: ranks 0, 2 have aa but rank 1 has bb.");
    }

    [Fact]
    public void Add_ManyOpenSteps_StaysBounded_AndForgetsTheOldest()
    {
        var hashes = new StateHashes(2);
        for (int step = 1; step <= 1000; step++)
        {
            hashes.Add(0, At(step, "a")).ShouldBeNull();
        }

        hashes.Add(1, At(1, "b")).ShouldBeNull();
        hashes.Add(1, At(1000, "b")).ShouldNotBeNull();
    }
}

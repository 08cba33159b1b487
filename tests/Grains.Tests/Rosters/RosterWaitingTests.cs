using static DarkMatter.Grains.Tests.Members;

namespace DarkMatter.Grains.Tests;

public sealed class RosterWaitingTests
{
    [Fact]
    public void Waiting_ForTheWantedWorld_DoesNothing()
    {
        var decision = Decide(Waiting(3, Spare(0), Spare(1)));
        (decision.State, decision.Begins, decision.Reason, decision.Lost.Length).ShouldBe((RunState.Waiting, false, "", 0));
    }

    [Fact]
    public void Waiting_WorldReady_BeginsTheNextGenerationInNameOrder()
    {
        var decision = Decide(Waiting(3, Spare(10), Spare(2), Spare(1)));
        decision.State.ShouldBe(RunState.Training);
        decision.Names().ShouldBe("1@0 2@1 10@2");
        decision.Reason.ShouldBe("generation 5: all 3 trainers joined (trainer-1, trainer-2, trainer-10)");
    }

    [Fact]
    public void Waiting_MoreThanWanted_AllHaveAPlace_UpToTheLargestWorld() =>
        Decide(Waiting(2, Spare(0), Spare(1), Spare(2), Spare(3)) with { MaxWorld = 3 }).Names().ShouldBe("0@0 1@1 2@2");

    [Fact]
    public void Waiting_BenchedSilentDrainingOrUnprepared_DoNotCount()
    {
        var benched = Waiting(2, Spare(0), Spare(1));
        Decide(benched with { Benches = benched.Benches.Add("trainer-1", new Bench(S(101), 1)) }).Begins.ShouldBeFalse();
        Decide(benched with { Benches = benched.Benches.Add("trainer-1", new Bench(S(100), 1)) }).Begins.ShouldBeTrue();
        Decide(Waiting(2, Spare(0), Spare(1, heard: 98))).Begins.ShouldBeFalse();
        Decide(Waiting(2, Spare(0), Spare(1) with { Draining = true })).Begins.ShouldBeFalse();
        Decide(Waiting(2, Spare(0), Spare(1) with { Prepared = false })).Begins.ShouldBeFalse();
    }

    [Theory]
    [InlineData(Presence.Broken)]
    [InlineData(Presence.Failed)]
    [InlineData(Presence.Left)]
    public void Waiting_OneThatWentAgain_IsStruckOff_AndItsPlaceIsFree(Presence presence)
    {
        var decision = Decide(Waiting(2, Spare(0), Spare(1, presence: presence)));
        decision.Begins.ShouldBeFalse();
        decision.Lost.ShouldHaveSingleItem().Name.ShouldBe("trainer-1");
    }

    [Fact]
    public void Waiting_BeyondTheJoinTimeout_BeginsWithWhatIsThere_ButNotBelowTheLeastWorld()
    {
        var three = Waiting(3, Spare(0, heard: 129.9), Spare(1, heard: 129.9)) with { MinWorld = 2 };
        Decide(three, now: 129.9).Begins.ShouldBeFalse();
        var decision = Decide(three, now: 130);
        decision.Names().ShouldBe("0@0 1@1");
        decision.Reason.ShouldBe("generation 5: 2 of 3 wanted trainers joined within 120 s (trainer-0, trainer-1)");
        Decide(three with { MinWorld = 3 }, now: 500).State.ShouldBe(RunState.Waiting);
    }

    [Fact]
    public void WaitingAgain_AfterAGeneration_GoesOnAsSoonAsTheLeastWorldHasSettled()
    {
        var again = Waiting(4, Seated(0) with { PreparedAt = S(10) }, Spare(7, preparedAt: 99.8)) with { Formed = true, MinWorld = 2 };
        Decide(again).Begins.ShouldBeFalse();
        var decision = Decide(again, now: 100.1);
        decision.Names().ShouldBe("0@0 7@1");
        decision.AtOnce.ShouldBeTrue();
        decision.Reason.ShouldBe("generation 5: 2 trainers go on (trainer-0, trainer-7)");
    }

    [Fact]
    public void Waiting_NewcomersEveryMoment_DoNotHoldItUpForEver()
    {
        var again = Waiting(9, Spare(0, preparedAt: 97.5), Spare(1, preparedAt: 100)) with { Formed = true };
        Decide(again).Begins.ShouldBeFalse();
        Decide(again with { All = [Spare(0, preparedAt: 97), Spare(1, preparedAt: 100)] }).Begins.ShouldBeTrue();
    }

    [Fact]
    public void Waiting_AFailureThatNobodyCouldAvoid_EndsTheRun()
    {
        var decision = Decide(Waiting(2, Spare(0), Spare(1, presence: Presence.Failed) with { RunFailed = true, Reason = "no such dataset" }));
        decision.State.ShouldBe(RunState.Failed);
        decision.Reason.ShouldBe("trainer-1 (pid 1001) failed: no such dataset.");
    }

    [Fact]
    public void Waiting_Stop_EndsAtOnce() =>
        Decide(Waiting(2, Spare(0)) with { StopRequestedAt = S(100), StopReason = "asked by Ann" }).Reason
            .ShouldBe("Asked by Ann; its trainers waited.");

    [Fact]
    public void Pause_WhileWaiting_KeepsItFromBeginning_UntilUnpaused()
    {
        var paused = Waiting(1, Spare(0)) with { PauseReason = "Paused: lunch." };
        Decide(paused).State.ShouldBe(RunState.Paused);
        Decide(paused with { State = RunState.Paused }).Begins.ShouldBeFalse();
        Decide(paused with { State = RunState.Paused, PauseReason = null }).Names().ShouldBe("0@0");
    }

    [Fact]
    public void Unpaused_WithTooFew_Waits()
    {
        var decision = Decide(Waiting(3, Spare(0)) with { State = RunState.Paused, Formed = true, MinWorld = 2 });
        decision.State.ShouldBe(RunState.Waiting);
        decision.Reason.ShouldBe("waits for 1 more trainer (1 of 2 ready). It is paused no longer.");
    }

    [Fact]
    public void AfterARestartOfTheSilo_WhoDoesNotComeBack_IsStruckOff()
    {
        var away = Waiting(2, Seated(0, Presence.Away, heard: 90.1), Seated(1, Presence.Away, heard: 90)) with { Formed = true };
        Decide(away).Lost.ShouldHaveSingleItem().Name.ShouldBe("trainer-1");
    }
}

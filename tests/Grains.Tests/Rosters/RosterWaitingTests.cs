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
    public void Waiting_BelowTheLeastWorld_TheBenchedAreCalledBack_SoonestFirst_AsManyAsItTakes()
    {
        var waiting = Waiting(3, Spare(0), Spare(1), Spare(2), Spare(3)) with { Formed = true, MinWorld = 3 };
        var benches = waiting.Benches.Add("trainer-1", new Bench(S(130), 3)).Add("trainer-3", new Bench(S(110), 2));
        Decide(waiting with { Benches = benches }).Names().ShouldBe("0@0 2@1 3@2");
        Decide(waiting with { Benches = benches, MinWorld = 2 }).Names().ShouldBe("0@0 2@1");
        Decide(waiting with { Benches = benches, MinWorld = 4 }).Names().ShouldBe("0@0 1@1 2@2 3@3");
        Decide(waiting with { Benches = benches.SetItem("trainer-1", new Bench(S(131), 3)), MinWorld = 4 }).Begins.ShouldBeFalse("10 s it always has");
    }

    [Fact]
    public void Waiting_Stop_WithNothingToSave_EndsAtOnce()
    {
        var waiting = Waiting(2, Spare(0) with { Held = 40 }) with { SavedStep = 40, StopRequestedAt = S(100), StopReason = "asked by Ann" };
        Decide(waiting).Reason.ShouldBe("Asked by Ann; its trainers waited.");
    }

    [Fact]
    public void Waiting_Stop_ThoseThatHoldWhatNoCheckpointHas_SaveItFirst()
    {
        var waiting = Waiting(3, Spare(0) with { Held = 57 }, Spare(1), Spare(2) with { Held = 50 }) with
        {
            Formed = true,
            MinWorld = 3,
            SavedStep = 40,
            StopRequestedAt = S(100),
            StopReason = "asked by Ann",
        };
        var decision = Decide(waiting);
        (decision.Names(), decision.Saving, decision.AtOnce).ShouldBe(("0@0 2@1", true, true));
        decision.Reason.ShouldBe("generation 5: a last checkpoint, for it stops while its trainers wait (trainer-0, trainer-2)");
        var saving = waiting.After(S(100), decision, Options).Begin(57);
        Decide(saving).State.ShouldBe(RunState.Training);
        var end = Decide(saving with { SavedStep = 57 });
        (end.State, end.Reason).ShouldBe((RunState.Stopped, "Asked by Ann at step 57."));
        var broken = Decide(saving with { All = [Seated(0), Seated(1, Presence.Broken)] });
        (broken.State, broken.Begins).ShouldBe((RunState.Waiting, false));
        Decide(waiting with { All = [Spare(0, heard: 1599) with { Held = 57 }] }, now: 1600).Reason
            .ShouldBe("Asked by Ann; trainer-0 could not save the steps after step 40 within 1500 s.");
    }

    [Fact]
    public void Waiting_TheLastThatHoldAStateDrain_TheySaveIt_AndAreReleasedThen()
    {
        var waiting = Waiting(2, Spare(0), Spare(1)) with { Formed = true, MinWorld = 2, SavedStep = 40 };
        waiting = waiting.Hear(S(100), new MemberReport { Name = "trainer-0", Incarnation = "i0", Session = "s0", Prepared = true, Held = 57, Draining = true });
        waiting.Released(S(100), Options).ShouldBeEmpty();
        var decision = Decide(waiting);
        (decision.Names(), decision.Saving).ShouldBe(("0@0", true));
        var saved = waiting.After(S(100), decision, Options).Begin(57) with { SavedStep = 57 };
        var after = saved.After(S(100), Decide(saved), Options);
        (after.State, after.Saving).ShouldBe((RunState.Waiting, false));
        after.Released(S(100), Options).ShouldHaveSingleItem().Name.ShouldBe("trainer-0");
        (waiting with { All = [waiting.All[0], Spare(1) with { Held = 57 }] }).Released(S(100), Options).ShouldHaveSingleItem("the other still holds it").Name.ShouldBe("trainer-0");
        var atOnce = Training(Seated(0) with { Held = 57, Draining = true }, Seated(1, Presence.Broken)) with { MinWorld = 2 };
        atOnce.After(S(100), Decide(atOnce), Options).Endangered(S(100), Options).ShouldBeTrue("it was told to leave at once, without a checkpoint");
    }

    [Theory]
    [InlineData(100, 150, " Steps 101 to 150 were only in memory and are lost: the newest checkpoint is of step 100.")]
    [InlineData(100, 101, " Step 101 was only in memory and is lost: the newest checkpoint is of step 100.")]
    [InlineData(0, 150, " Steps 1 to 150 were only in memory and are lost: there is no checkpoint.")]
    [InlineData(150, 150, "")]
    public void Stop_WhoHeldUnsavedStepsIsGone_TheReasonNamesThem(long saved, long reached, string lost)
    {
        var waiting = Waiting(3) with { Formed = true, SavedStep = saved, Reached = reached, StopRequestedAt = S(100) };
        Decide(waiting).Reason.ShouldBe($"Stopped on request; its trainers waited.{lost}");
        var saving = Training(Seated(0, Presence.Left, step: 150)) with { Saving = true, SavedStep = saved, Reached = reached, StopRequestedAt = S(100) };
        Decide(saving).Reason.ShouldBe($"Stopped on request at step 150.{lost}");
    }

    [Fact]
    public void Waiting_ASilentTrainer_KeepsNothingSafe()
    {
        var drains = Spare(0) with { Held = 57, Draining = true, SavesFirst = true };
        var waiting = Waiting(3, drains, Spare(1, heard: 98.1) with { Held = 57 }) with { Formed = true, MinWorld = 3, SavedStep = 40 };
        waiting.Endangered(S(100), Options).ShouldBeFalse();
        waiting.Endangered(S(100.1), Options).ShouldBeTrue();
        waiting.Released(S(100.1), Options).ShouldBeEmpty();
        Decide(waiting, now: 100.1).Names().ShouldBe("0@0");
    }

    [Fact]
    public void Paused_WhileTheGenerationBroke_WhoDrainsSavesFirst_AndStaysPaused()
    {
        var training = Training(Seated(0) with { Held = 57 }, Seated(1, Presence.Broken)) with { SavedStep = 40, PauseReason = "Paused: lunch." };
        var paused = Draining(training.After(S(100), Decide(training), Options));
        (paused.State, paused.Pausing).ShouldBe((RunState.Paused, false));
        paused.Released(S(100), Options).ShouldBeEmpty();
        var decision = Decide(paused);
        (decision.Names(), decision.Saving).ShouldBe(("0@0", true));
        var saved = paused.After(S(100), decision, Options).Begin(57) with { SavedStep = 57 };
        var after = saved.After(S(100), Decide(saved), Options);
        (after.State, after.Saving).ShouldBe((RunState.Paused, false));
        after.Released(S(100), Options).ShouldHaveSingleItem().Name.ShouldBe("trainer-0");
    }

    [Fact]
    public void Paused_InGoodOrder_TheOwnCheckpointIsNotInterrupted_UntilARankIsLost()
    {
        var training = Training(Seated(0) with { Held = 57 }, Seated(1)) with { SavedStep = 40, PauseReason = "Paused: lunch." };
        var paused = Draining(training.After(S(100), Decide(training), Options));
        paused.Pausing.ShouldBeTrue();
        paused.Endangered(S(100), Options).ShouldBeFalse();
        (paused with { All = [paused.All[0].Accusing(1), paused.All[1]] }).Endangered(S(100), Options).ShouldBeTrue("it could not be taken");
        Gone(Presence.Left).Endangered(S(100), Options).ShouldBeFalse("who left has written its part");
        Gone(Presence.Broken).Endangered(S(100), Options).ShouldBeTrue();

        RosterMembers Gone(Presence presence)
        {
            var members = paused with { All = [paused.All[0], paused.All[1] with { Presence = presence }] };
            return members.After(S(100), Decide(members), Options);
        }
    }

    private static RosterMembers Draining(RosterMembers members) => members.Hear(
        S(100), new MemberReport { Name = "trainer-0", Incarnation = "i0", Session = "s0", Prepared = true, Generation = 1, Held = 57, Step = 57, Draining = true });

    [Fact]
    public void AllStepsMade_WhoeverIsThereFinishes() =>
        Decide(Waiting(3, Spare(0) with { Held = 90 }) with { Formed = true, MinWorld = 3, TotalSteps = 90 }).Names().ShouldBe("0@0");

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

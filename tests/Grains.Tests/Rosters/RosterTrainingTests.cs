using static DarkMatter.Grains.Tests.Members;

namespace DarkMatter.Grains.Tests;

public sealed class RosterTrainingTests
{
    [Fact]
    public void AllWell_GoesOn() => Decide(Training(Seated(0), Seated(1)), now: 101.9).State.ShouldBe(RunState.Training);

    public static TheoryData<RosterMember, string> Losses => new()
    {
        { Seated(1, Presence.Broken), "trainer-1 (rank 1, pid 1001) was lost at step 57: its session broke without a word, as when a process is killed, crashes, or is cut from the silo." },
        { Seated(1, heard: 98), "trainer-1 (rank 1, pid 1001) was lost at step 57: nothing was heard from it for 2 s, longer than 2 s. It hangs, or is cut from the silo." },
        { Seated(1, Presence.Failed) with { Reason = "out of memory" }, "trainer-1 (rank 1, pid 1001) failed at step 57: out of memory." },
        { Seated(1, Presence.Left) with { Reason = "asked to" }, "trainer-1 (rank 1, pid 1001) left at step 57: asked to." },
        { Seated(1, Presence.Away, heard: 90), "trainer-1 (rank 1, pid 1001) did not come back within 10 s of the silo's restart." },
    };

    [Theory]
    [MemberData(nameof(Losses))]
    public void LostTrainer_TheOthersGoOnAtOnce_AndItIsStruckOff(RosterMember lost, string how)
    {
        var decision = Decide(Training(Seated(0), lost, Seated(2)));
        decision.State.ShouldBe(RunState.Training);
        decision.Names().ShouldBe("0@0 2@1");
        decision.AtOnce.ShouldBeTrue();
        decision.Lost.ShouldHaveSingleItem().ShouldBe(lost);
        decision.Notice.ShouldBe(how);
        decision.Reason.ShouldBe($"generation 2: {how} 2 trainers go on (trainer-0, trainer-2)");
    }

    [Fact]
    public void LostTrainer_AReadySpareTakesItsPlace_BehindThoseThatHaveTheState() =>
        Decide(Training(Seated(0, Presence.Broken), Seated(1), Spare(5), Spare(3), Spare(4) with { Prepared = false }) with { MaxWorld = 2 })
            .Names().ShouldBe("1@0 3@1");

    [Fact]
    public void LostTrainer_BelowTheLeastWorld_TheRunWaits_AndSaysForHowMany()
    {
        var decision = Decide(Training(Seated(0), Seated(1, Presence.Broken), Seated(2, Presence.Broken)) with { MinWorld = 3 });
        decision.State.ShouldBe(RunState.Waiting);
        decision.Begins.ShouldBeFalse();
        decision.AtOnce.ShouldBeTrue();
        decision.Reason.ShouldStartWith("waits for 2 more trainers (1 of 3 ready): trainer-1 (rank 1, pid 1001) was lost");
    }

    [Fact]
    public void AllLost_TheRunWaits() => Decide(Training(Seated(0, Presence.Broken))).State.ShouldBe(RunState.Waiting);

    [Fact]
    public void LostTrainer_ExplainsEveryAccusation()
    {
        var decision = Decide(Training(Seated(0).Accusing(2), Seated(1).Accusing(0), Seated(2, Presence.Broken)));
        decision.Names().ShouldBe("0@0 1@1");
        decision.Benched.ShouldBeNull();
    }

    [Fact]
    public void ATrainerStartedAgain_BeforeItsLossWasDealtWith_StillBreaksTheGeneration()
    {
        var again = new JoinRequest { Name = "trainer-1", Incarnation = "new", Session = "s9", Address = "http://x" };
        var members = Training(Seated(0), Seated(1, Presence.Broken)).Admit(S(100), again);
        var decision = Decide(members);
        decision.Names().ShouldBe("0@0");
        decision.AtOnce.ShouldBeTrue();
        var after = members.After(S(100), decision, Options);
        after.All.Select(m => (m.Incarnation, m.Rank)).ShouldBe([("i0", 0), ("new", -1)]);
        after.Replaced.ShouldBeEmpty();
    }

    [Fact]
    public void Newcomers_JoinAtAStepBoundary_OnceTheyHaveSettled()
    {
        var decision = Decide(Training(Seated(0), Seated(1), Spare(2, preparedAt: 99.6), Spare(3, preparedAt: 99.7)));
        decision.Names().ShouldBe("0@0 1@1 2@2 3@3");
        decision.AtOnce.ShouldBeFalse();
        decision.Reason.ShouldBe("generation 2: trainer-2, trainer-3 join (trainer-0, trainer-1, trainer-2, trainer-3)");
        Decide(Training(Seated(0), Spare(2, preparedAt: 99.6), Spare(3, preparedAt: 99.8))).Begins.ShouldBeFalse();
    }

    [Fact]
    public void Newcomers_WaitForTheGenerationToBegin_AndForAPlace()
    {
        Decide(Training(Seated(0), Spare(1)) with { Began = false }).Begins.ShouldBeFalse();
        Decide(Training(Seated(0), Spare(1)) with { MaxWorld = 1 }).Begins.ShouldBeFalse();
        Decide(Training(Seated(0), Seated(1, Presence.Away), Spare(2))).Begins.ShouldBeFalse();
    }

    [Fact]
    public void Draining_TheOthersGoOnWithoutItAtAStepBoundary_AndItIsReleased()
    {
        var members = Training(Seated(0), Seated(1) with { Draining = true }, Seated(2));
        var decision = Decide(members with { Began = false });
        decision.Names().ShouldBe("0@0 2@1");
        decision.AtOnce.ShouldBeFalse();
        decision.Reason.ShouldBe("generation 2: trainer-1 drains. 2 trainers go on (trainer-0, trainer-2)");
        members.Released(S(100), Options).ShouldBeEmpty();
        var after = members.After(S(100), decision, Options);
        after.Released(S(100), Options).ShouldHaveSingleItem().Name.ShouldBe("trainer-1");
        Decide(after).Begins.ShouldBeFalse();
        Decide(after with { All = after.All.Replace(after.All[2], after.All[2] with { Presence = Presence.Left }) }).Lost
            .ShouldHaveSingleItem().Name.ShouldBe("trainer-1");
    }

    [Fact]
    public void Draining_TheLastOne_IsReleased_AndTheRunWaits()
    {
        var members = Training(Seated(0) with { Draining = true });
        var decision = Decide(members);
        decision.State.ShouldBe(RunState.Waiting);
        decision.AtOnce.ShouldBeFalse();
        decision.Reason.ShouldBe("waits for 1 more trainer (0 of 1 ready): trainer-0 drains.");
        var after = members.After(S(100), decision, Options);
        after.Released(S(100), Options).ShouldHaveSingleItem().Name.ShouldBe("trainer-0");
        Decide(after).Begins.ShouldBeFalse();
    }

    [Fact]
    public void Pause_HoldsAtAStepBoundary_OrAtOnceWhenSomebodyIsLost()
    {
        var pausing = Training(Seated(0), Seated(1)) with { PauseReason = "Paused: lunch." };
        Decide(pausing).State.ShouldBe(RunState.Paused);
        Decide(pausing).AtOnce.ShouldBeFalse();
        var lost = Decide(pausing with { All = [Seated(0), Seated(1, Presence.Broken)] });
        (lost.State, lost.AtOnce, lost.Begins).ShouldBe((RunState.Paused, true, false));
        pausing.After(S(100), Decide(pausing), Options).CommittedStep.ShouldBe(57);
    }

    [Fact]
    public void AllCompleted_CompletesTheRun()
    {
        Decide(Training(Seated(0, Presence.Completed), Seated(1))).State.ShouldBe(RunState.Training);
        var decision = Decide(Training(Seated(0, Presence.Completed, heard: 1), Seated(1, Presence.Completed)));
        decision.State.ShouldBe(RunState.Completed);
        decision.Reason.ShouldBe("all 2 trainers completed step 57.");
    }

    [Fact]
    public void LostAfterAnotherCompleted_TheRestFinishes_UnlessTheLastCheckpointIsThere()
    {
        var members = Training(Seated(0, Presence.Completed), Seated(1, Presence.Broken), Seated(2));
        Decide(members).Names().ShouldBe("2@0");
        Decide(members with { FinalCheckpoint = true }).State.ShouldBe(RunState.Training);
        Decide(members with { FinalCheckpoint = true, All = [members.All[0], members.All[1], Seated(2, heard: 10)] }).State
            .ShouldBe(RunState.Completed);
    }

    [Fact]
    public void Stop_WaitsForAllToLeave_AndEndsAsStopped()
    {
        var stopping = Training(Seated(0), Seated(1, Presence.Left)) with { StopRequestedAt = S(99), StopReason = "asked by Ann" };
        Decide(stopping).State.ShouldBe(RunState.Training);
        var left = Decide(stopping with { All = [Seated(0, Presence.Left), Seated(1, Presence.Left)] });
        (left.State, left.Reason).ShouldBe((RunState.Stopped, "Asked by Ann at step 57."));
    }

    [Fact]
    public void Stop_OneThatLostTheOthersAsTheyLeft_IsNotWaitedFor_ItSavesWhatItHolds()
    {
        var stopping = Training(Seated(0).Accusing(1) with { Held = 57 }, Seated(1, Presence.Left)) with { SavedStep = 50, StopRequestedAt = S(99), StopReason = "asked" };
        var decision = Decide(stopping);
        (decision.State, decision.AtOnce).ShouldBe((RunState.Waiting, true));
        var waiting = stopping.After(S(100), decision, Options);
        Decide(waiting, now: 102 - 0.1).Saving.ShouldBeTrue();
        Decide(waiting with { SavedStep = 57 }).State.ShouldBe(RunState.Stopped);
        Decide(stopping with { All = [.. stopping.All, Seated(2)] }).State.ShouldBe(RunState.Training, "trainer-2 still finishes");
    }

    [Fact]
    public void Stop_ThatATrainerIgnores_EndsAtItsDeadline()
    {
        var stopping = Training(Seated(0, heard: 160), Seated(1, Presence.Left)) with { StopRequestedAt = S(100), StopReason = "asked" };
        stopping = stopping with { All = [Seated(0, heard: 1600), stopping.All[1]] };
        Decide(stopping, now: 1599.9).State.ShouldBe(RunState.Training);
        var decision = Decide(stopping, now: 1600);
        decision.State.ShouldBe(RunState.Stopped);
        decision.Reason.ShouldBe("Asked; trainer-0 (rank 0, pid 1000) had not stopped after 1500 s.");
        var unbegun = stopping with { Began = false, All = [Seated(0, heard: 400), stopping.All[1]] };
        Decide(unbegun, now: 399.9).State.ShouldBe(RunState.Training);
        Decide(unbegun, now: 400).Reason.ShouldBe("Asked; trainer-0 (rank 0, pid 1000) had not stopped after 300 s.");
        Decide(unbegun with { Saving = true }, now: 400).State.ShouldBe(RunState.Waiting, "another is saved instead");
    }

    [Fact]
    public void Stop_ALossBeforeAnybodyLeft_TheOthersSaveWhatTheyHold()
    {
        var stopping = Training(Seated(0) with { Held = 57 }, Seated(1, Presence.Broken), Spare(2)) with { StopRequestedAt = S(99), StopReason = "asked" };
        var decision = Decide(stopping);
        (decision.State, decision.AtOnce).ShouldBe((RunState.Waiting, true));
        var save = Decide(stopping.After(S(100), decision, Options));
        (save.Names(), save.Saving).ShouldBe(("0@0", true));
    }

    [Fact]
    public void AFailureThatNobodyCouldAvoid_EndsTheRun()
    {
        var decision = Decide(Training(Seated(0), Seated(1, Presence.Failed) with { RunFailed = true, Reason = "loss is NaN" }));
        (decision.State, decision.Reason).ShouldBe((RunState.Failed, "trainer-1 (rank 1, pid 1001) failed at step 57: loss is NaN."));
    }

    [Fact]
    public void NoProgress_TenTimes_WithGrowingPauses_FailsTheRun_WithTheReasons()
    {
        var members = Training(Seated(0), Seated(1)) with { Began = false };
        double now = 100;
        var pauses = new List<double>();
        for (int i = 1; i < Options.FruitlessGenerations; i++)
        {
            members = members with { All = [Seated(0, heard: now), Seated(1, Presence.Broken)] };
            members = members.After(S(now), Decide(members, now), Options);
            members.Fruitless.ShouldBe(i);
            pauses.Add(members.State == RunState.Training ? 0 : members.NotBefore.TotalSeconds - now);
            if (members.State == RunState.Waiting)
            {
                members = members with { All = [Seated(0, heard: members.NotBefore.TotalSeconds)] };
                Decide(members, members.NotBefore.TotalSeconds - 0.1).Begins.ShouldBeFalse();
                now = members.NotBefore.TotalSeconds;
                members = members.After(S(now), Decide(members, now), Options);
            }

            members.State.ShouldBe(RunState.Training);
        }

        pauses.ShouldBe([0, 0, 0, 2, 4, 8, 16, 32, 60]);
        var decision = Decide(members with { All = [Seated(0, heard: now), Seated(1, Presence.Broken)] }, now);
        decision.State.ShouldBe(RunState.Failed);
        decision.Reason.ShouldStartWith("the run makes no progress: 10 generations in a row broke before a step. tries again in 16 s, for 7 generations");
        var one = members with { Began = true, StartStep = 50, All = [Seated(0, step: 51), Seated(1, Presence.Broken)] };
        one.After(S(100), Decide(one), Options).Fruitless.ShouldBe(0);
    }
}

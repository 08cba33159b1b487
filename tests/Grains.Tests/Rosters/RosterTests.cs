namespace DarkMatter.Grains.Tests;

public sealed class RosterTests
{
    private static readonly RosterOptions s_options = new();

    private static TimeSpan S(double seconds) => TimeSpan.FromSeconds(seconds);

    private static RosterMember Member(int i, Presence presence = Presence.Connected, double heard = 100, long step = 57) => new()
    {
        Name = $"trainer-{i}",
        Incarnation = $"i{i}",
        Address = $"http://127.0.0.1:{5000 + i}",
        ProcessId = 1000 + i,
        Rank = i,
        Presence = presence,
        LastHeard = S(heard),
        Step = step,
    };

    private static RosterMembers Training(params RosterMember[] members) =>
        new() { World = members.Length, Generation = 1, Training = true, All = [.. members] };

    private static RosterMembers Waiting(int world, params RosterMember[] members) =>
        new() { World = world, Generation = 4, OpenedAt = S(10), All = [.. members.Select(m => m with { Rank = -1 })] };

    private static RosterDecision Decide(RosterMembers members, double now = 100) => Roster.Decide(S(now), members, s_options);

    [Fact]
    public void Waiting_ForTheWantedWorld_DoesNothing() =>
        Decide(Waiting(3, Member(0), Member(1))).ShouldBe(new RosterDecision(RunState.Waiting, "", []));

    [Fact]
    public void Waiting_WorldComplete_BeginsTheNextGenerationInNameOrder()
    {
        var decision = Decide(Waiting(3, Member(10), Member(2), Member(1)));
        decision.State.ShouldBe(RunState.Training);
        decision.Next.Select(m => (m.Name, m.Rank)).ShouldBe([("trainer-1", 0), ("trainer-2", 1), ("trainer-10", 2)]);
        decision.Reason.ShouldBe("generation 5: all 3 trainers joined (trainer-1, trainer-2, trainer-10)");
    }

    [Fact]
    public void Waiting_OneThatLeftAgain_DoesNotCount() =>
        Decide(Waiting(2, Member(0), Member(1, Presence.Broken))).Begins.ShouldBeFalse();

    [Fact]
    public void Waiting_BeyondTheJoinDeadline_FailsNamingWhoIsThere()
    {
        Decide(Waiting(3, Member(0), Member(1, Presence.Broken)), now: 129.9).State.ShouldBe(RunState.Waiting);
        var decision = Decide(Waiting(3, Member(0), Member(1, Presence.Broken)), now: 130);
        decision.State.ShouldBe(RunState.Failed);
        decision.Reason.ShouldBe(
            "only 1 of 3 trainers joined within 120 s (joined: trainer-0). trainer-1 (pid 1001) had joined and was lost again. "
            + "Look at the output of the missing ones.");
    }

    [Fact]
    public void Waiting_SilenceDoesNotMatter_UntilTrainingBegins() =>
        Decide(Waiting(2, Member(0, heard: 11), Member(1, heard: 11)), now: 60).Begins.ShouldBeTrue();

    [Fact]
    public void Waiting_OneThatSaysItFailed_EndsTheRun()
    {
        var decision = Decide(Waiting(2, Member(0), Member(1, Presence.Failed) with { Reason = "dataset not found" }));
        decision.State.ShouldBe(RunState.Failed);
        decision.Reason.ShouldBe("trainer-1 (pid 1001) failed before training began: dataset not found.");
    }

    [Fact]
    public void Training_AllWell_GoesOn() => Decide(Training(Member(0), Member(1)), now: 101.9).State.ShouldBe(RunState.Training);

    [Fact]
    public void Training_SilentTrainer_IsLostAtTheTimeout()
    {
        var decision = Decide(Training(Member(0, heard: 101), Member(1, heard: 100)), now: 102);
        decision.State.ShouldBe(RunState.Failed);
        decision.Reason.ShouldBe(
            "trainer-1 (rank 1, pid 1001) was lost at step 57: nothing was heard from it for 2 s, longer than 2 s. "
            + "It hangs, or is cut from the silo.");
    }

    [Fact]
    public void Training_BrokenSession_IsLostAtOnce()
    {
        var decision = Decide(Training(Member(0), Member(1, Presence.Broken)));
        decision.State.ShouldBe(RunState.Failed);
        decision.Reason.ShouldStartWith("trainer-1 (rank 1, pid 1001) was lost at step 57: its session broke");
    }

    [Fact]
    public void Training_VictimThatAccusesAndLeaves_IsNotBlamedForTheOneItAccuses()
    {
        var victim = Member(0, Presence.Failed) with
        {
            Accuses = new Accusation { Rank = 1, Reason = "connection reset" },
            AccusedAt = S(100),
            Reason = "lost a peer",
        };
        // The culprit's stream may break a little later than the victim's complaint arrives.
        Decide(Training(victim, Member(1)), now: 100.5).State.ShouldBe(RunState.Training);
        Decide(Training(victim, Member(1, Presence.Broken)), now: 100.6).Reason.ShouldStartWith("trainer-1 (rank 1, pid 1001) was lost");
    }

    [Fact]
    public void Training_AccusedThatStaysWell_EndsTheRunNamingBoth_AfterTheGrace()
    {
        var accuser = Member(0) with { Accuses = new Accusation { Rank = 1, Reason = "no answer for 5 s" }, AccusedAt = S(100) };
        Decide(Training(accuser, Member(1)), now: 100.9).State.ShouldBe(RunState.Training);
        var decision = Decide(Training(accuser, Member(1)), now: 101);
        decision.State.ShouldBe(RunState.Failed);
        decision.Reason.ShouldBe(
            "trainer-1 (rank 1, pid 1001) could not be reached by trainer-0 (rank 0, pid 1000) at step 57: no answer for 5 s. "
            + "Both still answered the silo: the connection between them is cut, or one of them hangs.");
    }

    [Fact]
    public void Training_FailedTrainer_IsNamedWithItsOwnReason() =>
        Decide(Training(Member(0), Member(1, Presence.Failed) with { Reason = "loss is NaN" })).Reason
            .ShouldBe("trainer-1 (rank 1, pid 1001) failed at step 57: loss is NaN.");

    [Fact]
    public void Training_AllCompleted_CompletesTheRun()
    {
        Decide(Training(Member(0, Presence.Completed), Member(1))).State.ShouldBe(RunState.Training);
        var decision = Decide(Training(Member(0, Presence.Completed), Member(1, Presence.Completed)));
        decision.State.ShouldBe(RunState.Completed);
        decision.Reason.ShouldBe("all 2 trainers completed step 57.");
    }

    [Fact]
    public void Training_LostAfterAnotherCompleted_StillFails() =>
        Decide(Training(Member(0, Presence.Completed), Member(1, Presence.Broken))).State.ShouldBe(RunState.Failed);

    [Fact]
    public void Training_CompletedTrainer_MayBeSilent() =>
        Decide(Training(Member(0, Presence.Completed, heard: 1), Member(1, heard: 100))).State.ShouldBe(RunState.Training);

    [Fact]
    public void Stop_WaitsForAllToLeave_AndEndsAsStopped()
    {
        var stopping = Training(Member(0), Member(1, Presence.Left)) with { StopRequestedAt = S(99), StopReason = "asked by Ann" };
        Decide(stopping).State.ShouldBe(RunState.Training);
        var left = stopping with { All = [Member(0, Presence.Left), Member(1, Presence.Left)] };
        Decide(left).ShouldBe(new RosterDecision(RunState.Stopped, "Asked by Ann at step 57.", []));
    }

    [Fact]
    public void Stop_ThatATrainerIgnores_EndsAtItsDeadline()
    {
        var stopping = Training(Member(0, heard: 159), Member(1, Presence.Left)) with { StopRequestedAt = S(100), StopReason = "asked" };
        Decide(stopping, now: 159.9).State.ShouldBe(RunState.Training);
        var decision = Decide(stopping, now: 160);
        decision.State.ShouldBe(RunState.Stopped);
        decision.Reason.ShouldBe("Asked; trainer-0 (rank 0, pid 1000) had not stopped after 60 s.");
    }

    [Fact]
    public void Stop_WhileWaiting_EndsAtOnce() =>
        Decide(Waiting(2, Member(0)) with { StopRequestedAt = S(1), StopReason = "Asked" }).State.ShouldBe(RunState.Stopped);

    [Fact]
    public void Training_DrainedTrainer_IsNamedWhenTheOthersFailWithoutIt()
    {
        var drained = Member(1, Presence.Left) with { Reason = "SIGTERM" };
        var victim = Member(0) with { Accuses = new Accusation { Rank = 1, Reason = "closed" }, AccusedAt = S(100) };
        Decide(Training(Member(0), drained)).State.ShouldBe(RunState.Training);
        Decide(Training(victim, drained)).Reason
            .ShouldBe("trainer-1 (rank 1, pid 1001) left at step 57 while others still trained: SIGTERM.");
        Decide(Training(Member(0, Presence.Left), drained)).State.ShouldBe(RunState.Stopped);
    }

    [Fact]
    public void Divergence_FailsTheRun() =>
        Decide(Training(Member(0)) with { Divergence = "differ" }).ShouldBe(new RosterDecision(RunState.Failed, "differ", []));

    [Fact]
    public void Refuse_SecondTrainerOfOneName_NamesTheFirst()
    {
        var members = Waiting(2, Member(0));
        var join = new JoinRequest { Name = "trainer-0", Incarnation = "other", Address = "http://x", ProcessId = 7 };
        var refusal = Roster.Refuse("demo", members, join, "d").ShouldNotBeNull();
        refusal.Refusal.ShouldBe(Refusal.AlreadyExists);
        refusal.Message.ShouldBe(
            "run 'demo' has a trainer trainer-0 already (pid 1000 at http://127.0.0.1:5000): give each trainer its own name");
        Roster.Refuse("demo", members with { All = [Member(0, Presence.Broken)] }, join, "d").ShouldBeNull();
    }

    [Fact]
    public void Refuse_WrongRecipeTooManyOrEmptyFields()
    {
        var join = new JoinRequest { Name = "trainer-9", Incarnation = "i", Address = "http://x", RecipeDigest = "d" };
        Roster.Refuse("demo", Waiting(2, Member(0)), join, "d").ShouldBeNull();
        Roster.Refuse("demo", Waiting(2, Member(0)), join with { RecipeDigest = "e" }, "d")!.Message.ShouldContain("another recipe");
        Roster.Refuse("demo", Waiting(2, Member(0)), join with { RecipeDigest = "" }, "d").ShouldBeNull();
        Roster.Refuse("demo", Waiting(2, Member(0), Member(1)), join, "d")!.Refusal.ShouldBe(Refusal.FailedPrecondition);
        Roster.Refuse("demo", Training(Member(0)), join, "d")!.Refusal.ShouldBe(Refusal.FailedPrecondition);
        Roster.Refuse("demo", Waiting(2), join with { Address = " " }, "d")!.Refusal.ShouldBe(Refusal.InvalidArgument);
    }

    /// <summary>A million random worlds would do; some thousands with a fixed seed run in a second.</summary>
    [Fact]
    public void Decide_OnRandomMembers_NeverBlamesAHealthyOneAlone_NorIgnoresALostOne()
    {
        var random = new Random(20261122);
        var presences = Enum.GetValues<Presence>();
        for (int i = 0; i < 20_000; i++)
        {
            var members = Enumerable.Range(0, random.Next(1, 6)).Select(rank => Member(rank) with
            {
                Presence = random.Next(3) > 0 ? Presence.Connected : presences[random.Next(presences.Length)],
                LastHeard = S(100 - (random.NextDouble() * 2.5)),
                Accuses = random.Next(6) == 0 ? new Accusation { Rank = random.Next(6), Reason = "r" } : null,
                AccusedAt = S(100 - (random.NextDouble() * 2)),
            }).ToArray();
            var decision = Decide(Training(members));
            bool lost = members.Any(m => m.Accuses is null
                && (m.Presence is Presence.Broken or Presence.Failed
                    || (m.Presence == Presence.Connected && S(100) - m.LastHeard >= s_options.FailureTimeout)));
            if (lost)
            {
                decision.State.ShouldBe(RunState.Failed);
            }

            if (decision.State == RunState.Failed)
            {
                decision.Reason.ShouldNotBeEmpty();
                var blamed = members.MinBy(m => decision.Reason.IndexOf($"{m.Name} ", StringComparison.Ordinal) is var at and >= 0 ? at : int.MaxValue)!;
                bool accused = members.Any(m => m.Accuses?.Rank == blamed.Rank);
                bool sick = blamed.Presence != Presence.Connected || S(100) - blamed.LastHeard >= s_options.FailureTimeout;
                (accused || sick || blamed.Accuses is not null).ShouldBeTrue($"{decision.Reason} in {string.Join(", ", members.AsEnumerable())}");
            }
        }
    }
}

public sealed class LaneShareTests
{
    [Fact]
    public void Of_EveryWorld_SplitsTheLanesIntoNeighboursLongestFirst()
    {
        for (int lanes = 1; lanes <= 40; lanes++)
        {
            for (int world = 1; world <= lanes; world++)
            {
                var shares = Enumerable.Range(0, world).Select(rank => LaneShare.Of(rank, world, lanes)).ToArray();
                shares.SelectMany(s => s).ShouldBe(Enumerable.Range(0, lanes));
                shares.Take(lanes % world).ShouldAllBe(s => s.Length == (lanes / world) + 1);
                shares.Skip(lanes % world).ShouldAllBe(s => s.Length == lanes / world);
            }
        }
    }

    [Theory]
    [InlineData(0, 3, 2)]
    [InlineData(2, 2, 4)]
    [InlineData(-1, 2, 4)]
    [InlineData(0, 0, 4)]
    public void Of_OutsideTheWorld_Throws(int rank, int world, int lanes) =>
        Should.Throw<ArgumentOutOfRangeException>(() => LaneShare.Of(rank, world, lanes));
}

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

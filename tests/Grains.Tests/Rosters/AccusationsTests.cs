using static DarkMatter.Grains.Tests.Members;

namespace DarkMatter.Grains.Tests;

public sealed class AccusationsTests
{
    private static RosterMembers Stuck(params RosterMember[] members) => Training(members) with { Began = false };

    [Fact]
    public void Accused_MayStillShowWhoIsAtFault_DuringTheGrace() =>
        Decide(Training(Seated(0).Accusing(1, at: 99.8), Seated(1))).Begins.ShouldBeFalse();

    [Fact]
    public void AccusedThatStaysWell_IsBenched_AndTheOthersGoOnAtOnce()
    {
        var members = Training(Seated(0).Accusing(1, "no answer for 5 s"), Seated(1), Seated(2));
        var decision = Decide(members);
        decision.Names().ShouldBe("0@0 2@1");
        decision.AtOnce.ShouldBeTrue();
        decision.Lost.ShouldBeEmpty();
        decision.Notice.ShouldBe(
            "trainer-1 (rank 1, pid 1001) could not be reached by trainer-0 (rank 0, pid 1000) at step 57: no answer for 5 s. "
            + "Both still answer the silo: the connection between them is cut, or one of them hangs.");
        var after = members.After(S(100), decision, Options);
        after.All.Select(m => (m.Name, m.Rank)).ShouldBe([("trainer-0", 0), ("trainer-2", 1), ("trainer-1", -1)]);
        after.IsBenched(after.All[2], S(109.9)).ShouldBeTrue();
        after.IsBenched(after.All[2], S(110)).ShouldBeFalse();
    }

    [Theory]
    [InlineData("1>2 2>1", 2)] // the link between them: of equals the higher rank
    [InlineData("0>1 2>1 1>2", 1)] // most accusers
    [InlineData("0>2", 2)]
    [InlineData("2>0", 0)]
    [InlineData("0>-1 1>0", 0)]
    [InlineData("1>1 2>0", 0)] // nobody accuses itself
    public void OneOfThePair_IsBenched(string accusations, int benched)
    {
        var members = Enumerable.Range(0, 3).Select(i => Seated(i)).ToArray();
        foreach (string[] pair in accusations.Split(' ').Select(a => a.Split('>')))
        {
            int by = int.Parse(pair[0], null);
            members[by] = members[by].Accusing(int.Parse(pair[1], null));
        }

        Decide(Training(members)).Benched!.Rank.ShouldBe(benched);
    }

    [Fact]
    public void Benched_AgainAndAgain_ForTwiceAsLong_UpToTheLongest_AndForgottenInTheEnd()
    {
        var members = Training(Seated(0).Accusing(1), Seated(1));
        double now = 100;
        double[] spans = new double[7];
        for (int i = 0; i < spans.Length; i++)
        {
            members = members with { State = RunState.Training, All = [Seated(0, heard: now).Accusing(1, at: now - 1), Seated(1, heard: now)] };
            members = members.After(S(now), Roster.Decide(S(now), members, Options), Options);
            spans[i] = members.Benches["trainer-1"].Until.TotalSeconds - now;
            now += spans[i];
        }

        spans.ShouldBe([10, 20, 40, 80, 160, 300, 300]);
        Bench.With(members.Benches, null, S(now + 299), Options).ShouldNotBeEmpty();
        Bench.With(members.Benches, null, S(now + 300), Options).ShouldBeEmpty();
    }

    [Fact]
    public void Benching_BelowTheLeastWorld_TheRunWaits_UntilItMayComeBack()
    {
        var members = Training(Seated(0).Accusing(1), Seated(1)) with { MinWorld = 2 };
        var decision = Decide(members);
        decision.State.ShouldBe(RunState.Waiting);
        var after = members.After(S(100), decision, Options);
        RosterMembers At(double now) => after with { All = [.. after.All.Select(m => m with { LastHeard = S(now) })] };
        Decide(At(109), now: 109).Begins.ShouldBeFalse();
        Decide(At(110), now: 110).Names().ShouldBe("0@0 1@1");
    }

    [Fact]
    public void NobodyNamed_TheSameTrainersTryAgain_ThreeTimes_ThenWithoutTheLastRank()
    {
        var members = Stuck(Seated(0).Accusing(-1, "frame is damaged"), Seated(1));
        for (int i = 1; i <= 3; i++)
        {
            var again = Decide(members);
            again.Again.ShouldBeTrue();
            again.Names().ShouldBe("0@0 1@1");
            members = members.After(S(100), again, Options);
            members.SameAgain.ShouldBe(i);
            members = members with { All = [Seated(0).Accusing(-1), Seated(1)] };
        }

        var decision = Decide(members);
        decision.Benched!.Name.ShouldBe("trainer-1");
        decision.Notice.ShouldEndWith("The same trainers tried 3 times without a step; now without trainer-1 (rank 1, pid 1001).");
        Decide(members with { Began = true, StartStep = 50 }).Again.ShouldBeTrue();
    }

    [Fact]
    public void StateDiffers_HealsAmongTheSameTrainers_AtOnce_AndIsBenchedWhenItDoesNotHelp()
    {
        var members = Stuck(Seated(0).Accusing(2, "hash aa, not bb", at: 100, differs: true), Seated(1), Seated(2));
        var decision = Decide(members);
        decision.Names().ShouldBe("0@0 1@1 2@2");
        decision.AtOnce.ShouldBeTrue();
        decision.Notice.ShouldBe("trainer-2 (rank 2, pid 1002) has another state than the others: hash aa, not bb.");
        Decide(members with { SameAgain = 3 }).Benched!.Name.ShouldBe("trainer-2");
    }

    [Fact]
    public void Divergence_ThatTheSiloSees_HealsAmongTheSameTrainers() =>
        Decide(Training(Seated(0), Seated(1)) with { Divergence = "The trainers' states differ." }).Again.ShouldBeTrue();

    [Fact]
    public void Alone_ItTriesAgain_AndIsNeverBenched() => Decide(Stuck(Seated(0).Accusing(-1)) with { SameAgain = 9 }).Names().ShouldBe("0@0");

    [Fact]
    public void GenerationThatNeverBegins_AndNobodySaysWhy_IsFormedAgain()
    {
        var members = Stuck(Seated(0, heard: 700), Seated(1, heard: 700)) with { FormedAt = S(100) };
        Decide(members, now: 699.9).Begins.ShouldBeFalse();
        var again = Decide(members, now: 700);
        again.Again.ShouldBeTrue();
        again.Notice.ShouldBe("Generation 1 had not begun after 600 s without progress, and none of its trainers says why.");
        Decide(members with { Began = true }, now: 700).Begins.ShouldBeFalse();
    }
    [Fact]
    public void GenerationThatTakesLongToBegin_IsWaitedFor_WhileItMakesProgress()
    {
        var members = Training(Seated(0, heard: 700), Seated(1, heard: 700)) with { Began = false, FormedAt = S(100) };
        Decide(members, now: 700).Begins.ShouldBeTrue();
        var copies = new MemberReport { Name = "trainer-1", Incarnation = "i1", Session = "s1", Generation = 1, Prepared = true, Progress = 3 };
        var heard = members.Hear(S(699), copies);
        Decide(heard, now: 700).Begins.ShouldBeFalse();
        heard.Hear(S(699.5), copies).FormedAt.ShouldBe(S(699), "it says the same again");
    }

}

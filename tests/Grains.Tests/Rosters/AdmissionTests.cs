using static DarkMatter.Grains.Tests.Members;

namespace DarkMatter.Grains.Tests;

public sealed class AdmissionTests
{
    private static readonly JoinRequest s_join = new() { Name = "trainer-0", Incarnation = "new", Session = "s", Address = "http://x", RecipeDigest = "d" };

    private static JoinAnswer? Refuse(RosterMembers members, JoinRequest join, double now = 100) =>
        Admission.Refuse("demo", S(now), members, join, "d", Options);

    [Fact]
    public void NewName_MayJoin_AtAnyTime()
    {
        Refuse(Waiting(1), s_join).ShouldBeNull();
        Refuse(Training(Seated(1), Seated(2)), s_join with { RecipeDigest = "" }).ShouldBeNull();
    }

    [Fact]
    public void EmptyFieldsOrAnotherRecipe_AreRefused()
    {
        Refuse(Waiting(1), s_join with { Address = " " })!.Refusal.ShouldBe(Refusal.InvalidArgument);
        Refuse(Waiting(1), s_join with { RecipeDigest = "e" })!.Message.ShouldContain("another recipe");
    }

    [Fact]
    public void NameOfALivingTrainer_IsRefused_OfALostOneReplacesIt()
    {
        var refusal = Refuse(Training(Seated(0)), s_join).ShouldNotBeNull();
        refusal.Refusal.ShouldBe(Refusal.AlreadyExists);
        refusal.Message.ShouldBe(
            "run 'demo' has a trainer trainer-0 already (pid 1000 at http://127.0.0.1:5000): give each trainer its own name");
        Refuse(Training(Seated(0, Presence.Broken)), s_join).ShouldBeNull();
        Refuse(Training(Seated(0, Presence.Away)), s_join).ShouldBeNull();
        Refuse(Training(Seated(0)), s_join, now: 102).ShouldBeNull();
    }

    [Theory]
    [InlineData("i0", 1, true)]
    [InlineData("i0", 2, false)] // of a generation that never was
    [InlineData("other", 1, false)]
    public void FromAGeneration_OnlyItself_WithAPlaceInTheNewest(string incarnation, long generation, bool may)
    {
        var refusal = Refuse(Training(Seated(0, Presence.Away)), s_join with { Incarnation = incarnation, Generation = generation });
        (refusal?.Refusal ?? Refusal.None).ShouldBe(may ? Refusal.None : Refusal.StaleGeneration);
    }

    [Fact]
    public void FromAGeneration_ASpare_IsStale() =>
        Refuse(Training(Seated(1), Spare(0)), s_join with { Incarnation = "i0", Generation = 1 })!.Refusal.ShouldBe(Refusal.StaleGeneration);

    [Fact]
    public void ComingBack_KeepsPlaceAndSteps_ButNotThoseOfAnEarlierGeneration()
    {
        var away = Training(Seated(0, Presence.Away), Seated(1));
        var back = away.Admit(S(100), s_join with { Incarnation = "i0", Generation = 1, LastStep = 80 });
        back.Seated.Select(m => (m.Name, m.Rank, m.Presence, m.Step)).ShouldBe(
            [("trainer-0", 0, Presence.Connected, 80), ("trainer-1", 1, Presence.Connected, 57)]);
        back.Replaced.ShouldBeEmpty();
        var earlier = (away with { Generation = 2 }).Admit(S(100), s_join with { Incarnation = "i0", Generation = 1, LastStep = 80 });
        earlier.Seated.First().Step.ShouldBe(57);
    }

    [Fact]
    public void ItselfWithoutItsGeneration_GivesItsPlaceUp() =>
        Decide(Training(Seated(0), Seated(1)).Admit(S(100), s_join with { Incarnation = "i0" })).Names().ShouldBe("1@0");
}

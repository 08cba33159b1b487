using System.Collections.Immutable;

namespace DarkMatter.Grains.Tests;

public sealed class CheckpointPartsTests
{
    private ImmutableArray<PartCollection> _parts = [];

    [Theory]
    [InlineData(new[] { 0, 1, 2 })]
    [InlineData(new[] { 2, 0, 1 })]
    [InlineData(new[] { 1, 1, 2, 2, 0 })]
    public void Add_TheLastOfAllRanks_CompletesWithAllFilesInRankOrder(int[] ranks)
    {
        foreach (var rank in ranks[..^1])
            Add(Part(rank)).Complete.ShouldBeFalse();
        var answer = Add(Part(ranks[^1]));
        answer.Complete.ShouldBeTrue();
        answer.Files.Select(f => f.Name).ShouldBe(["model-0", "model-1", "model-2"]);
    }

    [Fact]
    public void Add_TheSamePartAgain_GivesTheSameAnswer_ForALostAnswerIsAskedForAgain()
    {
        Add(Part(0));
        Add(Part(1));
        Add(Part(2)).Complete.ShouldBeTrue();
        Add(Part(2)).Complete.ShouldBeTrue();
        Add(Part(2)).Files.Length.ShouldBe(3);
    }

    [Fact]
    public void Add_OfAnotherStepOrGeneration_NeverMixes()
    {
        Add(Part(0));
        Add(Part(1) with { Step = 20 }).Complete.ShouldBeFalse();
        Add(Part(1) with { Generation = 2 }).Complete.ShouldBeFalse();
        Add(Part(2)).Complete.ShouldBeFalse();
        Add(Part(1)).Complete.ShouldBeTrue();
    }

    [Fact]
    public void Add_AnotherAttemptOfARank_ReplacesItsPart_UntilItIsPublished()
    {
        Add(Part(0));
        Add(Part(0, "model-0.2"));
        Add(Part(1));
        Add(Part(2)).Files.Select(f => f.Name).ShouldBe(["model-0.2", "model-1", "model-2"]);
        var refused = Add(Part(0));
        (refused.Refusal, refused.Complete).ShouldBe((Refusal.FailedPrecondition, false));
        refused.Message.ShouldContain("other files for step 10");
    }

    [Fact]
    public void Add_MoreCollectionsThanTheBound_ForgetsTheOldest()
    {
        for (var step = 1; step <= 3 * CheckpointParts.MostCollections; step++)
            Add(Part(0) with { Step = step });
        _parts.Length.ShouldBe(CheckpointParts.MostCollections);
        _parts.Min(c => c.Step).ShouldBe((2 * CheckpointParts.MostCollections) + 1);
    }

    [Fact]
    public void Add_Nonsense_IsRefusedWithWhatIsWrongAndChangesNothing()
    {
        Refused(Part(3), "a rank from 0 to 2, but rank is 3");
        Refused(Part(-1), "rank is -1");
        Refused(Part(0) with { Step = 0 }, "step is 0");
        Refused(Part(0) with { Generation = 0 }, "generation 0");
        Refused(Part(0) with { World = 0 }, "world is 0");
        Refused(Part(0) with { Files = [] }, "but 0 are given");
        Refused(Part(0) with { Files = [new CheckpointFileRecord { Name = "x", Bytes = 1, Sha256 = "12" }] }, "'x' has 1 bytes and '12'");
        Add(Part(0));
        var before = _parts;
        Add(Part(0) with { World = 2 }).Message.ShouldContain("parts of 2 ranks, others said 3");
        _parts.ShouldBe(before);
    }

    private static CheckpointPartReport Part(int rank, string? name = null) => new()
    {
        Generation = 1,
        Step = 10,
        Rank = rank,
        World = 3,
        Files = [new CheckpointFileRecord { Name = name ?? $"model-{rank}", Bytes = 5, Sha256 = new('a', 64) }],
    };

    private PartAnswer Add(CheckpointPartReport part)
    {
        (_parts, var answer) = CheckpointParts.Add(_parts, part);
        return answer;
    }

    private void Refused(CheckpointPartReport part, string message)
    {
        var answer = Add(part);
        answer.Refusal.ShouldBe(Refusal.InvalidArgument);
        answer.Message.ShouldContain(message);
        _parts.ShouldBeEmpty();
    }
}

namespace DarkMatter.Grains.Tests;

public sealed class CheckpointPublicationTests
{
    private static CheckpointRecord At(long step, long generation = 1) =>
        new() { Step = step, Generation = generation, Path = $"/c/{step}", ManifestSha256 = new('0', 64) };

    [Fact]
    public void Refuse_NewerStepOrGeneration_IsPublished()
    {
        CheckpointPublication.Refuse(null, At(5)).ShouldBeNull();
        CheckpointPublication.Refuse(At(5), At(6)).ShouldBeNull();
        CheckpointPublication.Refuse(At(50), At(6, generation: 2)).ShouldBeNull();
        CheckpointPublication.Refuse(At(5), At(5)).ShouldBeNull();
    }

    [Fact]
    public void Refuse_OlderOrDifferent_SaysWhy()
    {
        CheckpointPublication.Refuse(At(5), At(4))!.Value.Refusal.ShouldBe(Refusal.FailedPrecondition);
        CheckpointPublication.Refuse(At(5), At(5) with { Path = "/other" })!.Value.Refusal.ShouldBe(Refusal.FailedPrecondition);
        CheckpointPublication.Refuse(null, At(5) with { ManifestSha256 = "00" })!.Value.Message.ShouldContain("SHA-256 has 1 bytes");
        CheckpointPublication.Refuse(null, At(0))!.Value.Refusal.ShouldBe(Refusal.InvalidArgument);
        CheckpointPublication.Refuse(null, At(5) with { Path = " " })!.Value.Refusal.ShouldBe(Refusal.InvalidArgument);
    }

    [Fact]
    public void Newest_AnUploadThatOutlivedItsGeneration_IsNotTheNewestAgain()
    {
        CheckpointPublication.Refuse(At(500, 2), At(400, 1)).ShouldBeNull("the ledger decides whether it counts");
        CheckpointPublication.Newest(At(500, 2), At(400, 1)).ShouldBe(At(500, 2));
        CheckpointPublication.Newest(At(300, 2), At(400, 1)).ShouldBe(At(400, 1));
        CheckpointPublication.Newest(At(500, 1), At(400, 2)).ShouldBe(At(400, 2));
        CheckpointPublication.Newest(null, At(1)).ShouldBe(At(1));
    }
}

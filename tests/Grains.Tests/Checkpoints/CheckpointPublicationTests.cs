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
        CheckpointPublication.Refuse(At(5, 2), At(6, 1))!.Value.Refusal.ShouldBe(Refusal.StaleGeneration);
        CheckpointPublication.Refuse(At(5), At(4))!.Value.Refusal.ShouldBe(Refusal.FailedPrecondition);
        CheckpointPublication.Refuse(At(5), At(5) with { Path = "/other" })!.Value.Refusal.ShouldBe(Refusal.FailedPrecondition);
        CheckpointPublication.Refuse(null, At(5) with { ManifestSha256 = "00" })!.Value.Message.ShouldContain("SHA-256 has 1 bytes");
        CheckpointPublication.Refuse(null, At(0))!.Value.Refusal.ShouldBe(Refusal.InvalidArgument);
        CheckpointPublication.Refuse(null, At(5) with { Path = " " })!.Value.Refusal.ShouldBe(Refusal.InvalidArgument);
    }
}

using DarkMatter.Trainer.Checkpoints;

namespace DarkMatter.Trainer.Tests.Checkpoints;

public sealed class CheckpointRulesTests
{
    [Theory]
    [InlineData(1, 0, new long[] { 10, 20, 30, 40 })]
    [InlineData(3, 0, new long[] { 10, 20 })]
    [InlineData(9, 0, new long[0])]
    [InlineData(1, 20, new long[] { 10, 30 })]
    [InlineData(2, 30, new long[] { 10, 20 })]
    public void Expired_KeepsTheLastAndEveryNth(int last, long every, long[] expired) =>
        new CheckpointRetention(last, every).Expired([50, 10, 30, 20, 40], newest: 50, generation: 1, _ => 1).ShouldBe(expired);

    [Fact]
    public void Expired_LaterSteps_GoOnlyWhenAnOlderGenerationWroteThem() =>
        new CheckpointRetention().Expired([10, 20, 30, 40, 50], newest: 20, generation: 2, step => step switch { 30 => 1, 40 => 2, _ => null }).ShouldBe([30]);

    [Theory]
    [InlineData(CheckpointKind.Model, 0, 1, 1, "model.safetensors")]
    [InlineData(CheckpointKind.Model, 0, 1, 2, "model.2.safetensors")]
    [InlineData(CheckpointKind.Optimizer, 1, 4, 1, "optimizer-00002-of-00004.safetensors")]
    [InlineData(CheckpointKind.Optimizer, 1, 4, 12, "optimizer-00002-of-00004.12.safetensors")]
    [InlineData(CheckpointKind.Recipe, 0, 1, 1, "recipe.yaml")]
    [InlineData(CheckpointKind.Recipe, 0, 1, 3, "recipe.3.yaml")]
    public void Names_ThereAndBack(CheckpointKind kind, int rank, int world, int attempt, string name)
    {
        CheckpointNames.Of(kind, rank, world, attempt).ShouldBe(name);
        CheckpointNames.Parse(name).ShouldBe((kind, rank, world));
    }

    [Theory]
    [InlineData("manifest.json")]
    [InlineData("model-1-of-4.safetensors")]
    [InlineData(".model.safetensors.0123.tmp")]
    [InlineData("model.safetensors.old")]
    [InlineData("recipe-00001-of-00002.yaml")]
    public void Names_OfOtherFiles_AreNone(string name) => CheckpointNames.Parse(name).ShouldBeNull();
}

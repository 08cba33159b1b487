namespace DarkMatter.Trainer.Tests.Training;

/// <summary>Tests that seed or read torch's random generator, which is one per process: they run one after the other.</summary>
[CollectionDefinition(Name)]
public sealed class TorchCollection
{
    public const string Name = "torch";
}

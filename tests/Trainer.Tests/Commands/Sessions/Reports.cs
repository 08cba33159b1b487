using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Commands.Sessions;

/// <summary>Reports of steps that nobody made.</summary>
internal static class Reports
{
    /// <summary>One, whose digest tells the step.</summary>
    public static StepReport Of(long step) => new()
    {
        Step = step,
        TotalSteps = 100,
        Loss = 1,
        LearningRate = 0.1,
        Elapsed = TimeSpan.FromSeconds(1),
        ImagesPerSecond = 1,
        DataWait = TimeSpan.Zero,
        ExposedCommunication = TimeSpan.Zero,
        EmbeddingStd = 0.1,
        SamplesDigest = 11 * (ulong)step,
        Keys = [],
    };
}

using System.Runtime.CompilerServices;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Training;
using TorchSharp;

namespace DarkMatter.Trainer.Tests.Training;

[Collection(TorchCollection.Name)]
public sealed class MemoryTests
{
    [Fact]
    public void Execute_HundredSteps_KeepsNoNativeTensorOfAStep()
    {
        var counts = new List<long>();
        var options = TrainingRunTests.Options with { TotalSteps = 100, HashEvery = 10 };
        TrainingRun.Execute(options, step => new SyntheticViews(options, step), new SingleRank(1), new Counting(counts), CancellationToken.None);
        counts[99].ShouldBe(counts[9], "tensors alive after step 100 and after step 10");
    }

    [Fact]
    public void Execute_Twice_FreesWhatTheFirstRunUsed()
    {
        var before = Collected();
        for (var i = 0; i < 2; i++)
            TrainingRunTests.Run(TrainingRunTests.Options with { TotalSteps = 3 }, new SingleRank(1), new RecordedSession());
        Collected().ShouldBe(before);
    }

    /// <summary>A writer keeps a copy of the state for its next checkpoint: one such copy is enough, however many generations have saved.</summary>
    [Fact]
    public void CheckpointWriter_OfAGenerationThatIsOver_IsLetGoWithItsCopy()
    {
        var folder = Directory.CreateTempSubdirectory("writers").FullName;
        using var state = TrainState.Prepare(TrainingRunTests.Options, Trainer.Stack.TorchStack.Current);
        var first = Saved(state, 1, folder);
        var second = Saved(state, 2, folder);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (first.IsAlive && !deadline.IsCancellationRequested)
            Collected();
        (first.IsAlive, second.IsAlive).ShouldBe((false, true));
        Directory.Delete(folder, recursive: true);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference Saved(TrainState state, long generation, string folder)
    {
        var options = TrainingRunTests.Options with { RunDirectory = Path.Combine(folder, $"{generation}") };
        state.Enter(options, new SingleRank(generation));
        state.Begin(generation);
        var writer = state.CheckpointWriter(options, new RecordedSession())!;
        writer.Save(state.Progress(), required: true).ShouldBeTrue();
        writer.Complete();
        return new WeakReference(writer);
    }

    /// <summary>Tensors alive when those that set-up left to the garbage collector are gone.</summary>
    private static long Collected()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return torch.Tensor.TotalCount;
    }

    private sealed class Counting(List<long> counts) : ITrainingSession
    {
        public bool StopRequested => false;

        public void StepsPlanned(long totalSteps)
        {
        }

        public void StepApplied(StepReport report) => counts.Add(report.Step == 1 ? Collected() : torch.Tensor.TotalCount);

        public Task PublishCheckpointAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken) => Task.CompletedTask;

        public void Note(string message)
        {
        }
    }
}

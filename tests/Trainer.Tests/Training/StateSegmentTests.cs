using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Training;

public sealed class StateSegmentTests
{
    [Fact]
    public void Lineage_OverGenerations_KeepsWhatWasTrained()
    {
        var lineage = StateSegment.Begin([], 1, 0);
        lineage = StateSegment.Grow(StateSegment.Grow(lineage, 10), ulong.MaxValue);
        lineage.ShouldBe([new StateSegment(1, 0, 2, 9)]); // sums wrap
        lineage = StateSegment.Begin(StateSegment.Begin(lineage, 2, 2), 5, 2);
        lineage = StateSegment.Grow(lineage, 7);
        lineage.ShouldBe([new StateSegment(1, 0, 2, 9), new StateSegment(5, 2, 3, 7)]); // generation 2 made no step
    }

    [Fact]
    public void Lineage_OfALongRun_IsBounded()
    {
        IReadOnlyList<StateSegment> lineage = [];
        for (var generation = 1; generation <= 3 * StateSegment.Most; generation++)
            lineage = StateSegment.Grow(StateSegment.Begin(lineage, generation, generation - 1), 1);
        lineage.Count.ShouldBe(StateSegment.Most);
        lineage[^1].ShouldBe(new StateSegment(3 * StateSegment.Most, (3 * StateSegment.Most) - 1, 3 * StateSegment.Most, 1));
        lineage.Zip(lineage.Skip(1)).ShouldAllBe(pair => pair.First.EndStep == pair.Second.StartStep);
    }
}

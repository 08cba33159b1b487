namespace DarkMatter.Simulation;

public sealed class SimulationTests
{
    private const int Runs = 1000;
    private const int RunsUntilCaught = 2000; // a missing fence shows in one run of a hundred

    [Fact]
    public void AnyRun_WithRandomFaults_KeepsEveryInvariantAndGoesOnToItsEnd()
    {
        var broken = Enumerable.Range(1, Runs).Select(seed => SimulatedRun.Of(Scenario.Of(seed))).FirstOrDefault(run => run.Broken is not null);
        broken.ShouldBeNull(broken is null ? "" : $"seed {broken.Scenario.Seed}: {broken.Broken}\nreplay: {Simulate.Replay(broken.Scenario.Seed)}");
    }

    [Theory]
    [InlineData(5, "rank 0 had reported a digest that the lost rank had not committed")]
    [InlineData(167, "a newcomer was assigned while the last step was made")]
    [InlineData(345, "the last steps were reported to a generation that was over")]
    [InlineData(581, "the next generation was formed while the beginning of the last was under way to the silo")]
    [InlineData(363, "a generation trained and broke while its rank 0 was cut off from the silo")]
    [InlineData(959, "a trainer that had been cut off was the only one left, with more steps than the generation that went on without it")]
    [InlineData(4019, "the only checkpoint of a step was damaged, and generations broke on it without a pause")]
    [InlineData(5533, "the last step was made by two of four, and the rest waited for others to make no step with")]
    [InlineData(8750, "a rank told what it had after it had restored a state")]
    [InlineData(1007401, "a bit flipped between the comparison of hashes and the checkpoint")]
    public void Seed_ThatOnceBrokeAnInvariant_Holds(int seed, string story) => SimulatedRun.Of(Scenario.Of(seed)).Broken.ShouldBeNull(story);

    [Fact]
    public void OneSeed_Twice_IsTheSameRun()
    {
        var (first, second) = (SimulatedRun.Of(Scenario.Of(42), tracing: true), SimulatedRun.Of(Scenario.Of(42), tracing: true));
        first.Notes.Count.ShouldBeGreaterThan(10);
        second.Notes.ShouldBe(first.Notes);
        second.Events.ShouldBe(first.Events);
    }

    [Fact]
    public void Faults_AreSurvivedNotAvoided()
    {
        var runs = Enumerable.Range(1, 200).Select(seed => SimulatedRun.Of(Scenario.Of(seed))).ToList();
        runs.Sum(run => run.Generations).ShouldBeGreaterThan(300);
        runs.Count(run => run.RolledBack > 0).ShouldBeGreaterThan(5);
    }

    [Fact]
    public void BuildWithoutFencing_IsCaught() => Caught(scenario => scenario with { Fencing = false }).ShouldNotBeNull();

    [Fact]
    public void BuildThatTellsBeforeItStores_IsCaught() =>
        Caught(scenario => scenario with { DurableFirst = false }).ShouldNotBeNull().ShouldContain("trainers are told of generation");

    // A test of the tests: the first broken invariant of a build that is deliberately wrong.
    private static string? Caught(Func<Scenario, Scenario> mistake) =>
        Enumerable.Range(1, RunsUntilCaught).Select(seed => SimulatedRun.Of(mistake(Scenario.Of(seed))).Broken).FirstOrDefault(broken => broken is not null);
}

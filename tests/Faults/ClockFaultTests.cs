using System.Text.RegularExpressions;
using DarkMatter.EndToEnd.Tests;

namespace DarkMatter.Faults;

/// <summary>The row of the failure table that happens to clocks: the time of day is for people, and decides nothing.</summary>
public sealed partial class ClockFaultTests(Workshop workshop)
{
    [Fact]
    public async Task ClocksJump_ForwardAndBack_NobodyIsLost()
    {
        var (silo, first) = (new MovingClock(workshop, "silo"), new MovingClock(workshop, "trainer"));
        await using var cluster = new Cluster(workshop, "clock") { Before = name => name switch { "silo" => silo.Prefix, "trainer-0" => first.Prefix, _ => "" } };
        await cluster.StartAsync(2, "--set", "train.checkpoint_every=10");
        var before = await cluster.StatusAsync();
        foreach (var hours in (int[])[5, -7])
        {
            (silo.Ahead, first.Ahead) = (TimeSpan.FromHours(hours), TimeSpan.FromHours(-hours));
            var jumped = await cluster.StatusAsync();
            var later = await cluster.UntilAsync(status => status.Step > jumped.Step + 30 && status.CheckpointStep > jumped.Step, "30 more steps and a checkpoint");
            later.Generation.ShouldBe(before.Generation);
        }

        (silo.Ahead, first.Ahead) = (TimeSpan.FromDays(2), TimeSpan.FromDays(-2));
        var joins = await cluster.StatusAsync();
        cluster.StartTrainer("trainer-2");
        await cluster.UntilTrainsAsync(3, before.Generation, joins.Step);
        await cluster.ShouldBeProvenWithoutRollbackAsync();
        var beganAt = (await cluster.LedgerAsync()).Generations.Last(generation => generation.Began).BeganUnixMs;
        (DateTimeOffset.FromUnixTimeMilliseconds(beganAt) - DateTimeOffset.UtcNow).TotalDays.ShouldBe(2, 0.1, "the silo's clock did jump");
    }

    /// <summary>
    /// Where the time of day may stand in the product: in what is written for people, and where gRPC wants a moment for a deadline, which it turns
    /// into a span when the call begins.
    /// </summary>
    private static readonly string[] s_allowed =
    [
        "deadline: DateTime.UtcNow + ",
        "ask(DateTime.UtcNow + ",
        "DateTime.UtcNow + Deadline);",
        "{DateTime.UtcNow:HH:mm:ss.fff}",
        "(since {DateTime.Now:yyyy-MM-dd HH:mm:ss})",
        "Become(Run.Began(_run, beginning, time.GetUtcNow()))",
    ];

    [Fact]
    public void Source_DecidesNothingByTheTimeOfDay()
    {
        var lines = new[] { "Data", "Grains", "Silo", "Trainer" }
            .SelectMany(project => Directory.EnumerateFiles(Path.Combine(Repository.Root, "src", project), "*.cs", SearchOption.AllDirectories))
            .SelectMany(path => File.ReadLines(path).Select((line, number) => (Place: $"{Path.GetRelativePath(Repository.Root, path)}:{number + 1}", Line: line.Trim())))
            .Where(line => TimeOfDay().IsMatch(line.Line))
            .ToList();
        lines.Count.ShouldBeGreaterThan(s_allowed.Length, "the search finds what is there");
        lines.Where(line => !s_allowed.Any(allowed => line.Line.Contains(allowed, StringComparison.Ordinal))).ShouldBeEmpty(
            "deadlines are spans of a monotonic clock (Stopwatch, Environment.TickCount64, TimeProvider.GetTimestamp): a clock that is set must not move them");
    }

    [GeneratedRegex(@"DateTime(Offset)?\.(Utc)?(Now|Today)|GetUtcNow|GetLocalNow")]
    private static partial Regex TimeOfDay();
}

using System.Text.RegularExpressions;

namespace DarkMatter.EndToEnd.Tests;

/// <summary>Processes are killed while a run trains: the command ends by itself, says who died and how to go on, and going on works.</summary>
public sealed partial class LossTests(Workshop workshop)
{
    private const int Steps = 300;

    /// <summary>A lost process is noticed within seconds; the rest is for a busy machine.</summary>
    private static readonly TimeSpan NoticeDeadline = TimeSpan.FromSeconds(60);

    [Theory]
    [InlineData("trainer-0", 3)]
    [InlineData("trainer-1", 3)]
    [InlineData("silo", 4)]
    public async Task Kill_OfAProcess_NamesIt_AndResumeFinishes(string victim, int code)
    {
        var run = workshop.NewRun("kill-" + victim);
        var output = workshop.In("out", run);
        string resume;
        int checkpointStep;
        await using (var command = Start(run))
        {
            await command.UntilAsync(() => Checkpoints(output).Count > 1, "a second checkpoint");
            var id = command.ChildId(victim);
            command.Signal("KILL", id);
            var finished = (await command.FinishAsync(NoticeDeadline)).ShouldEndWith(code);
            finished.ShouldSay($"run '{run}': {victim} (process {id}) was killed by SIGKILL");
            finished.Error.ShouldMatch(@"last committed step  \d+ of 300");
            finished.Error.ShouldMatch(@"newest checkpoint    step \d+, ");
            resume = ResumeLine().Match(finished.Error).Groups[1].Value;
            resume.ShouldEndWith("--resume", Case.Sensitive, finished.Story);
            checkpointStep = Checkpoints(output)[^1];
        }
        Command.LeftOver(output).ShouldBeEmpty();

        await using var second = Command.StartShell(workshop.Path, resume);
        var done = (await second.FinishAsync()).ShouldEndWith(0);
        done.ShouldSay($"resume     from step {checkpointStep}");
        PretrainTests.Losses(output).Count.ShouldBe(Steps);
        Command.LeftOver(output).ShouldBeEmpty();
    }

    [Fact]
    public async Task Kill_OfTheCommandItself_LeavesNoProcess_AndResumeFinishes()
    {
        var run = workshop.NewRun("kill-command");
        var output = workshop.In("out", run);
        await using var command = Start(run);
        await command.UntilAsync(() => Checkpoints(output).Count > 0, "a checkpoint");
        command.Signal("KILL");
        await command.FinishAsync(NoticeDeadline);

        // Its children notice by the end of their input; the next owner of the folder waits for them.
        (await Command.RunAsync(workshop.Path, "pretrain", "--recipe", "small.yaml", "--run", run, "--output", output, "--set", $"train.max_steps={Steps}", "--resume")).ShouldEndWith(0);
        Command.LeftOver(output).ShouldBeEmpty();
    }

    [Fact]
    public async Task Resume_OfAnInterruptedRun_GoesOnAsIfNothingHappened()
    {
        var (whole, cut) = (workshop.NewRun("whole"), workshop.NewRun("cut"));
        await using (var command = Start(whole))
        {
            (await command.FinishAsync()).ShouldEndWith(0);
        }
        await using (var command = Start(cut))
        {
            await command.UntilAsync(() => Checkpoints(workshop.In("out", cut)).Count > 0, "a checkpoint");
            command.Signal("TERM");
            (await command.FinishAsync()).ShouldEndWith(5).ShouldSay("--resume");
        }
        await using (var command = Start(cut, "--resume"))
        {
            (await command.FinishAsync()).ShouldEndWith(0);
        }
        var (expected, actual) = (PretrainTests.Losses(workshop.In("out", whole)), PretrainTests.Losses(workshop.In("out", cut)));
        actual.Count.ShouldBe(expected.Count);
        for (var step = 0; step < expected.Count; step++)
        {
            actual[step].ShouldBe(expected[step], 1e-6 * Math.Abs(expected[step]), $"step {step + 1}");
        }
    }

    private Command Start(string run, params string[] more) => Command.Start(
        workshop.Path,
        ["pretrain", "--recipe", "small.yaml", "--run", run, "--output", workshop.In("out", run), "--set", $"train.max_steps={Steps}", .. more]);

    private static List<int> Checkpoints(string output) => Directory.Exists(Path.Combine(output, "checkpoints"))
        ? [.. Directory.GetDirectories(Path.Combine(output, "checkpoints")).Select(Path.GetFileName).Where(name => name!.All(char.IsAsciiDigit)).Select(int.Parse!).Order()]
        : [];

    [GeneratedRegex(@"go on with\s+(.+)$", RegexOptions.Multiline)]
    private static partial Regex ResumeLine();
}

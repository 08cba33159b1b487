using System.Text.RegularExpressions;

namespace DarkMatter.EndToEnd.Tests;

/// <summary>
/// Processes are killed while a run trains. The run goes on without them if it can; if it cannot, the command ends by itself, says who died and
/// how to go on, and going on works.
/// </summary>
public sealed partial class LossTests(Workshop workshop)
{
    private const int Steps = 300;

    /// <summary>A lost process is noticed within seconds; the rest is for a busy machine.</summary>
    private static readonly TimeSpan NoticeDeadline = TimeSpan.FromSeconds(60);

    [Theory]
    [InlineData("trainer-0")]
    [InlineData("trainer-1")]
    public async Task Kill_OfOneTrainer_IsNamed_AndTheOtherTakesEveryStep(string victim)
    {
        var run = workshop.NewRun("go-on-without-" + victim);
        var output = workshop.In("out", run);
        await using var command = Start(run, "--no-evaluation");
        await command.UntilAsync(() => Checkpoints(output).Count > 0, "a checkpoint");
        var id = command.ChildId(victim);
        command.Signal("KILL", id);
        var finished = (await command.FinishAsync()).ShouldEndWith(0);
        finished.ShouldSay($"{victim} (process {id}) was killed by SIGKILL; the run goes on with 1 of 2 trainers");
        await ShouldBeProvenAsync(output);
    }

    [Fact]
    public async Task Kill_OfTheSilo_IsNamed_AndNoStepIsLost()
    {
        var run = workshop.NewRun("silo-again");
        var output = workshop.In("out", run);
        await using var command = Start(run, "--no-evaluation");
        await command.UntilAsync(() => Checkpoints(output).Count > 0, "a checkpoint");
        var id = command.ChildId("silo");
        command.Signal("KILL", id);
        var finished = (await command.FinishAsync()).ShouldEndWith(0);
        finished.ShouldSay($"silo (process {id}) was killed by SIGKILL; the trainers train on while it is started again");
        await ShouldBeProvenAsync(output);
    }

    [Theory]
    [InlineData("trainer-0", 3)]
    [InlineData("trainer-1", 3)]
    public async Task Kill_OfATrainerTheRunCannotDoWithout_NamesIt_AndResumeFinishes(string victim, int code)
    {
        var run = workshop.NewRun("kill-" + victim);
        var output = workshop.In("out", run);
        string resume;
        int checkpointStep;
        await using (var command = Start(run, "--set", "local.min_trainers=2"))
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

    /// <summary>Every step was taken and written down once, and the ledger proves which images were used.</summary>
    private async Task ShouldBeProvenAsync(string output)
    {
        var lines = File.ReadLines(Path.Combine(output, "steps.csv")).Skip(1).Select(line => int.Parse(line.Split(',')[0], System.Globalization.CultureInfo.InvariantCulture));
        lines.ShouldBe(Enumerable.Range(1, Steps));
        (await Command.RunAsync(workshop.Path, "audit", output)).ShouldEndWith(0);
        Command.LeftOver(output).ShouldBeEmpty();
    }

    private Command Start(string run, params string[] more) => Command.Start(
        workshop.Path,
        ["pretrain", "--recipe", "small.yaml", "--run", run, "--output", workshop.In("out", run), "--set", $"train.max_steps={Steps}", .. more]);

    private static List<int> Checkpoints(string output) => Directory.Exists(Path.Combine(output, "checkpoints"))
        ? [.. Directory.GetDirectories(Path.Combine(output, "checkpoints")).Where(path => File.Exists(Path.Combine(path, "manifest.json"))).Select(Path.GetFileName).Where(name => name!.All(char.IsAsciiDigit)).Select(int.Parse!).Order()]
        : [];

    [GeneratedRegex(@"go on with\s+(.+)$", RegexOptions.Multiline)]
    private static partial Regex ResumeLine();
}

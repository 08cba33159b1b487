using System.Diagnostics;
using DarkMatter.Trainer.Commands.Local;

namespace DarkMatter.Trainer.Tests.Commands;

/// <summary>Children that are not darkmatter: a shell does.</summary>
public sealed class ChildProcessTests : IDisposable
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("children");

    private ChildProcess Shell(string script) =>
        ChildProcess.Start("child", "/bin/sh", ["-c", script], new Dictionary<string, string> { ["GREETING"] = "hello" }, Path.Combine(folder.FullName, "logs", "child.log"));

    [Fact]
    public async Task Output_IsReadLogged_AndItsEndKept()
    {
        await using var child = Shell("echo $GREETING; for i in $(seq 100); do echo line $i; done; echo bad >&2; exit 3");
        (await child.ReadLineAsync(line => line == "hello", Deadline, CancellationToken.None)).ShouldBe("hello");
        (await child.Exited.WaitAsync(Deadline)).Code.ShouldBe(3);
        child.LastLines.Count.ShouldBe(ChildProcess.KeptLines);
        var log = await File.ReadAllLinesAsync(child.LogPath);
        log.ShouldContain("hello");
        log.ShouldContain("bad");
        log.Length.ShouldBe(102);
    }

    [Fact]
    public async Task Kill_IsReportedAsASignal()
    {
        await using var child = Shell("sleep 600");
        child.Kill();
        var exit = await child.Exited.WaitAsync(Deadline);
        exit.ToString().ShouldBe($"child (process {child.Id}) was killed by SIGKILL");
    }

    [Fact]
    public async Task Stop_ClosesItsInput_AndAChildThatListensEnds()
    {
        await using var child = Shell("cat >/dev/null; exit 5");
        (await child.StopAsync(Deadline)).Code.ShouldBe(5);
    }

    [Fact]
    public async Task Stop_OfAChildThatDoesNotListen_KillsIt()
    {
        await using var child = Shell("sleep 600");
        (await child.StopAsync(TimeSpan.FromMilliseconds(50))).Code.ShouldBe(137);
    }

    [Fact]
    public async Task ReadLine_NoneWithinTheDeadline_NamesChildAndLog()
    {
        await using var child = Shell("sleep 600");
        var failure = await Should.ThrowAsync<TimeoutException>(() => child.ReadLineAsync(_ => true, TimeSpan.FromMilliseconds(50), CancellationToken.None));
        failure.Message.ShouldContain("child (process");
        failure.Message.ShouldContain(child.LogPath);
    }

    [Fact]
    public async Task ReadLine_ChildEndsWithoutOne_IsNull()
    {
        await using var child = Shell("echo other");
        (await child.ReadLineAsync(line => line == "ready", Deadline, CancellationToken.None)).ShouldBeNull();
    }

    [Fact]
    public async Task Dispose_LeavesNoProcess()
    {
        var child = Shell("sleep 600");
        await child.DisposeAsync();
        Should.Throw<ArgumentException>(() => Process.GetProcessById(child.Id));
    }

    public void Dispose() => folder.Delete(recursive: true);
}

using System.Net;
using System.Net.Sockets;
using DarkMatter.Protocol;
using Grpc.Core;

namespace DarkMatter.Silo.Tests;

/// <summary>The executable itself: started, killed, restarted, told to stop.</summary>
public sealed class SiloProcessTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task KilledSilo_KeepsItsRuns_AndFailsWhatWasLive()
    {
        using (var silo = await SiloProcess.Start(_folder.Path))
        {
            await silo.Client.CreateRunAsync(SessionTests.Plan(world: 1));
            await using var trainer = await FakeTrainer.Join(silo.Grpc, "demo", "trainer-0");
            await trainer.Assignment();
            await trainer.Plan(90);
            await trainer.Applied(5);
            while ((await silo.Client.GetRunAsync(new GetRunRequest { Run = "demo" })).TotalSteps != 90)
            {
                await Task.Delay(20, TestContext.Current.CancellationToken);
            }

            await silo.Client.PublishCheckpointAsync(new PublishCheckpointRequest
            {
                Run = "demo",
                Generation = 1,
                Step = 5,
                Path = "/c/5",
                ManifestSha256 = Google.Protobuf.ByteString.CopyFrom(new byte[32]),
            });
            await silo.Kill();
            (await trainer.Ended()).StatusCode.ShouldBe(StatusCode.Unavailable);
        }

        using var restarted = await SiloProcess.Start(_folder.Path);
        var run = await restarted.Client.GetRunAsync(new GetRunRequest { Run = "demo" });
        run.State.ShouldBe(RunState.Failed);
        run.Reason.ShouldStartWith("The silo was killed or stopped while the run was training at step ");
        run.Reason.ShouldContain("Continue from the checkpoint of step 5 with `darkmatter pretrain --resume`");
        (run.Generation, run.TotalSteps, run.CheckpointStep, run.CheckpointPath).ShouldBe((1, 90, 5, "/c/5"));

        var resume = SessionTests.Plan(world: 1);
        resume.Resume = true;
        resume.StartStep = 5;
        await restarted.Client.CreateRunAsync(resume);
        await using var again = await FakeTrainer.Join(restarted.Grpc, "demo", "trainer-0");
        var assignment = await again.Assignment();
        (assignment.Generation, assignment.StartStep, assignment.TotalSteps).ShouldBe((2, 5, 90));
    }

    [Fact]
    public async Task KilledAgainAndAgain_LosesNothingAcknowledged()
    {
        for (int life = 0; life < 3; life++)
        {
            using var silo = await SiloProcess.Start(_folder.Path);
            var listed = (await silo.Client.ListRunsAsync(new ListRunsRequest())).Runs;
            listed.Count(r => !r.Run.StartsWith("cut", StringComparison.Ordinal)).ShouldBe(4 * life);
            listed.ShouldAllBe(r => r.State == RunState.Failed);
            for (int i = 0; i < 4; i++)
            {
                await silo.Client.CreateRunAsync(SessionTests.Plan($"run-{life}-{i}"));
            }

            // A fifth is under way when the kill comes: it is there afterwards or not, but whole.
            using var cut = silo.Client.CreateRunAsync(SessionTests.Plan($"cut-{life}"));
            await silo.Kill();
            var ended = await Record.ExceptionAsync(async () => await cut);
            (ended is null or RpcException).ShouldBeTrue($"{ended}");
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ToldToStop_EndsLiveRunsDurably_TellsTrainers_AndExitsWithZero(bool bySignal)
    {
        using (var silo = await SiloProcess.Start(_folder.Path, "--parent-pipe"))
        {
            await silo.Client.CreateRunAsync(SessionTests.Plan(world: 1));
            await using var trainer = await FakeTrainer.Join(silo.Grpc, "demo", "trainer-0");
            await trainer.Assignment();
            await (bySignal ? silo.Terminate() : silo.CloseInput());
            silo.ExitCode.ShouldBe(0, silo.StandardError);
            var stop = (await trainer.Next(SiloMessage.KindOneofCase.Stop)).Stop;
            stop.Failed.ShouldBeTrue();
            stop.Reason.ShouldBe("The silo was stopped while the run lived.");
            silo.StandardError.ShouldNotContain("   at ");
        }

        using var restarted = await SiloProcess.Start(_folder.Path);
        (await restarted.Client.GetRunAsync(new GetRunRequest { Run = "demo" })).Reason
            .ShouldStartWith("The silo was stopped while the run lived. No checkpoint");
    }

    [Theory]
    [InlineData("--port", "--http-port")]
    [InlineData("--http-port", "--port")]
    public async Task PortTaken_SaysWhichAndWhatToDo(string taken, string other)
    {
        using var holder = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        holder.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        holder.Listen();
        int port = ((IPEndPoint)holder.LocalEndPoint!).Port;
        using var silo = SiloProcess.Launch(taken, $"{port}", other, "0", "--state", _folder.Path);
        await silo.Exited();
        silo.ExitCode.ShouldBe(2);
        silo.StandardError.Trim().ShouldBe(
            $"darkmatter-silo: Port {port} on 127.0.0.1 is taken by another program. Choose another with {taken} N ({taken} 0 takes any free one), "
            + $"or stop that program: `ss -ltnp 'sport = :{port}'` shows which it is.");
    }

    [Fact]
    public async Task DamagedRun_IsNamed_AndTheOthersLive()
    {
        using (var silo = await SiloProcess.Start(_folder.Path))
        {
            await silo.Client.CreateRunAsync(SessionTests.Plan("broken"));
            await silo.Client.CreateRunAsync(SessionTests.Plan("well"));
            await silo.Terminate();
        }

        string path = Path.Combine(_folder.Path, "grains", "run", "run", "broken.json");
        await File.WriteAllTextAsync(path, "{}", TestContext.Current.CancellationToken);
        using var restarted = await SiloProcess.Start(_folder.Path);
        var thrown = await Should.ThrowAsync<RpcException>(
            async () => await restarted.Client.GetRunAsync(new GetRunRequest { Run = "broken" }));
        thrown.Status.Detail.ShouldContain($"{path} is damaged: it has no header line. The version before it is {path}.previous");
        (await restarted.Client.GetRunAsync(new GetRunRequest { Run = "well" })).State.ShouldBe(RunState.Failed);
        restarted.StandardError.ShouldContain($"Run broken cannot be read");
        restarted.StandardError.ShouldNotContain("   at ");
    }

    [Fact]
    public async Task DamagedListOfRuns_KeepsTheSiloFromStarting_NamingTheFile()
    {
        string path = Path.Combine(_folder.Path, "grains", "runs", "runlist", "all.json");
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        await File.WriteAllTextAsync(path, "{}", TestContext.Current.CancellationToken);
        using var silo = SiloProcess.Launch("--port", "0", "--http-port", "0", "--state", _folder.Path);
        await silo.Exited();
        silo.ExitCode.ShouldBe(2);
        silo.StandardError.ShouldStartWith("darkmatter-silo: The list of runs cannot be read.");
        silo.StandardError.ShouldContain($"{path} is damaged");
        silo.StandardError.ShouldNotContain("   at ");
    }

    [Fact]
    public async Task SecondSilo_OnOneStateFolder_IsRefused()
    {
        using var first = await SiloProcess.Start(_folder.Path);
        using var second = SiloProcess.Launch("--port", "0", "--http-port", "0", "--state", _folder.Path);
        await second.Exited();
        second.ExitCode.ShouldBe(2);
        second.StandardError.ShouldContain("is in use by another silo");
    }

    [Fact]
    public async Task WrongArguments_AreAllNamed()
    {
        using var silo = SiloProcess.Launch("--prot", "--http-port", "70000", "--bind", "here", "--join-timeout", "x", "--state");
        await silo.Exited();
        silo.ExitCode.ShouldBe(2);
        string[] lines = silo.StandardError.Trim().Split('\n');
        lines.Length.ShouldBe(5);
        lines[0].ShouldBe("darkmatter-silo: unknown option '--prot': did you mean --port? --help lists all");
        lines[1].ShouldBe("darkmatter-silo: --join-timeout is 'x', but must be a number of seconds");
        lines[2].ShouldBe("darkmatter-silo: --state needs a value");
        lines[3].ShouldContain("http-port is 70000");
        lines[4].ShouldContain("bind is 'here'");
    }
}

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
    public async Task KilledSilo_ComesBack_TrainersKeepTheirPlaces_AndNothingIsCommittedTwice()
    {
        await using var trainers = new Trainers();
        using (var silo = await SiloProcess.Start(_folder.Path))
        {
            await silo.Client.CreateRunAsync(SiloTest.Plan());
            trainers.Add(await FakeTrainer.Join(silo.Grpc, "demo", "trainer-0"), await FakeTrainer.Join(silo.Grpc, "demo", "trainer-1"));
            await Task.WhenAll(trainers[0].Assignment(), trainers[1].Assignment());
            await trainers[0].Began(0);
            await trainers[0].Plan(90);
            await Task.WhenAll(trainers[0].Applied(5, digest: 50), trainers[1].Applied(5));
            await Until(silo, run => run.Step == 5 && run.TotalSteps == 90);
            await silo.Client.PublishCheckpointAsync(SiloTest.Checkpoint(5));
            await silo.Kill();
            (await trainers[0].Ended()).StatusCode.ShouldBe(StatusCode.Unavailable);
        }

        // They train on without a silo, and tell the next one where they are.
        using var restarted = await SiloProcess.Start(_folder.Path, "--return-timeout", "2");
        trainers.Add(await trainers[0].Rejoin(restarted.Grpc), await trainers[1].Rejoin(restarted.Grpc));
        await Task.WhenAll(trainers[2].Applied(9, digest: 90), trainers[3].Applied(9));
        var run = await Until(restarted, status => status.Step == 9);
        (run.State, run.Generation, run.TotalSteps, run.CheckpointStep, run.CheckpointPath).ShouldBe((RunState.Training, 1, 90, 5, "/c/5"));
        var ledger = await restarted.Client.GetLedgerAsync(new GetRunRequest { Run = "demo" });
        ledger.Generations.Select(g => (g.Number, g.StartStep, g.CommittedStep, g.DigestStep, g.SamplesDigest)).ShouldBe([(1, 0, 9, 9, 90ul)]);
        restarted.StandardError.ShouldContain("Run demo is taken up again: Training in generation 1 at step 5");
    }

    [Fact]
    public async Task KilledSilo_WhoDoesNotComeBackInTime_IsReplaced()
    {
        await using var trainers = new Trainers();
        using (var silo = await SiloProcess.Start(_folder.Path))
        {
            await silo.Client.CreateRunAsync(SiloTest.Plan());
            trainers.Add(await FakeTrainer.Join(silo.Grpc, "demo", "trainer-0"), await FakeTrainer.Join(silo.Grpc, "demo", "trainer-1"));
            await Task.WhenAll(trainers[0].Assignment(), trainers[1].Assignment());
            await trainers[0].Began(0);
            await Until(silo, run => run.Members.Count == 2 && run.Generation == 1);
            await silo.Kill();
        }

        using var restarted = await SiloProcess.Start(_folder.Path, "--return-timeout", "1");
        trainers.Add(await trainers[0].Rejoin(restarted.Grpc));
        var next = await trainers[2].Assignment();
        (next.Generation, next.World, next.AtOnce).ShouldBe((2, 1, true));
        next.Reason.ShouldContain("trainer-1 (rank 1, pid 4001) did not come back within 1 s of the silo's restart");
        var late = await trainers[1].Rejoin(restarted.Grpc);
        trainers.Add(late);
        (await late.Ended()).StatusCode.ShouldBe(StatusCode.Aborted);
    }

    [Fact]
    public async Task EverythingKilled_TheRunIsResumedFromItsCheckpoint()
    {
        await using var trainers = new Trainers();
        using (var silo = await SiloProcess.Start(_folder.Path))
        {
            await silo.Client.CreateRunAsync(SiloTest.Plan(world: 1));
            trainers.Add(await FakeTrainer.Join(silo.Grpc, "demo", "trainer-0"));
            await trainers[0].Assignment();
            await trainers[0].Began(0);
            await trainers[0].Applied(5);
            await Until(silo, run => run.Step == 5);
            await silo.Client.PublishCheckpointAsync(SiloTest.Checkpoint(5));
            await silo.Kill();
        }

        using var restarted = await SiloProcess.Start(_folder.Path);
        var resume = SiloTest.Plan(world: 1);
        resume.Resume = true;
        resume.StartStep = 5;
        (await restarted.Client.CreateRunAsync(resume)).State.ShouldBe(RunState.Waiting);
        trainers.Add(await FakeTrainer.Join(restarted.Grpc, "demo", "trainer-0"));
        var assignment = await trainers[1].Assignment();
        (assignment.Generation, assignment.StartStep, assignment.CheckpointPath).ShouldBe((2, 5, "/c/5"));
    }

    [Fact]
    public async Task KilledAgainAndAgain_LosesNothingAcknowledged()
    {
        for (int life = 0; life < 3; life++)
        {
            using var silo = await SiloProcess.Start(_folder.Path);
            var listed = (await silo.Client.ListRunsAsync(new ListRunsRequest())).Runs;
            listed.Count(r => !r.Run.StartsWith("cut", StringComparison.Ordinal)).ShouldBe(4 * life);
            listed.ShouldAllBe(r => r.State == RunState.Waiting);
            for (int i = 0; i < 4; i++)
            {
                await silo.Client.CreateRunAsync(SiloTest.Plan($"run-{life}-{i}"));
            }

            // A fifth is under way when the kill comes: it is there afterwards or not, but whole.
            using var cut = silo.Client.CreateRunAsync(SiloTest.Plan($"cut-{life}"));
            await silo.Kill();
            var ended = await Record.ExceptionAsync(async () => await cut);
            (ended is null or RpcException).ShouldBeTrue($"{ended}");
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ToldToStop_LetsTrainersGo_ExitsWithZero_AndTheRunLivesOn(bool bySignal)
    {
        await using var trainers = new Trainers();
        using (var silo = await SiloProcess.Start(_folder.Path, "--parent-pipe"))
        {
            await silo.Client.CreateRunAsync(SiloTest.Plan(world: 1));
            trainers.Add(await FakeTrainer.Join(silo.Grpc, "demo", "trainer-0"));
            await trainers[0].Assignment();
            await trainers[0].Began(0);
            await trainers[0].Applied(3);
            await Until(silo, run => run.Step == 3);
            await (bySignal ? silo.Terminate() : silo.CloseInput());
            silo.ExitCode.ShouldBe(0, silo.StandardError);
            // On a busy machine the connection may be gone before the word is out; what must not come is a verdict on the trainer.
            (await trainers[0].Ended()).StatusCode.ShouldBeOneOf(StatusCode.Unavailable, StatusCode.Internal);
            silo.StandardError.ShouldNotContain("   at ");
        }

        using var restarted = await SiloProcess.Start(_folder.Path);
        trainers.Add(await trainers[0].Rejoin(restarted.Grpc));
        await trainers[1].Applied(4);
        (await Until(restarted, run => run.Step == 4)).Generation.ShouldBe(1);
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
            await silo.Client.CreateRunAsync(SiloTest.Plan("broken"));
            await silo.Client.CreateRunAsync(SiloTest.Plan("well"));
            await silo.Client.StopRunAsync(new StopRunRequest { Run = "broken" }); // written a second time
            await silo.Terminate();
        }

        string path = Path.Combine(_folder.Path, "grains", "run", "run", "broken.json");
        await File.WriteAllTextAsync(path, "{}", TestContext.Current.CancellationToken);
        using var restarted = await SiloProcess.Start(_folder.Path);
        var thrown = await Should.ThrowAsync<RpcException>(
            async () => await restarted.Client.GetRunAsync(new GetRunRequest { Run = "broken" }));
        thrown.Status.Detail.ShouldContain($"{path} is damaged: it has no header line. The version before it is {path}.previous");
        (await restarted.Client.GetRunAsync(new GetRunRequest { Run = "well" })).State.ShouldBe(RunState.Waiting);
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

    private static async Task<RunStatus> Until(SiloProcess silo, Func<RunStatus, bool> holds)
    {
        using var deadline = new CancellationTokenSource(SiloProcess.Patience);
        while (true)
        {
            var status = await silo.Client.GetRunAsync(new GetRunRequest { Run = "demo" }, cancellationToken: deadline.Token);
            if (holds(status))
            {
                return status;
            }

            await Task.Delay(20, deadline.Token);
        }
    }

    /// <summary>Trainers that end with their test.</summary>
    private sealed class Trainers : IAsyncDisposable
    {
        private readonly List<FakeTrainer> _all = [];

        public FakeTrainer this[int i] => _all[i];

        public void Add(params FakeTrainer[] trainers) => _all.AddRange(trainers);

        public async ValueTask DisposeAsync()
        {
            foreach (var trainer in _all)
            {
                await trainer.DisposeAsync();
            }
        }
    }
}

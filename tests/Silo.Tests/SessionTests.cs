using DarkMatter.Protocol;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Silo.Tests;

/// <summary>A whole silo in this process, spoken to by gRPC.</summary>
public sealed class SessionTests : IAsyncLifetime
{
    private readonly TemporaryFolder _folder = new();
    private SiloHost _silo = null!;
    private GrpcChannel _channel = null!;

    private Coordinator.CoordinatorClient Client => new(_channel);

    public async ValueTask InitializeAsync()
    {
        _silo = await SiloHost.StartAsync(
            new SiloOptions { Port = 0, HttpPort = 0, StateDirectory = _folder.Path, FailureTimeout = TimeSpan.FromSeconds(3) },
            TestContext.Current.CancellationToken);
        _channel = GrpcChannel.ForAddress(_silo.GrpcAddress);
    }

    public async ValueTask DisposeAsync()
    {
        _channel.Dispose();
        await _silo.DisposeAsync();
        _folder.Dispose();
    }

    internal static CreateRunRequest Plan(string run = "demo", int world = 2) => new()
    {
        Run = run,
        RecipeYaml = "name: demo\ntrain:\n  batch: 10\n",
        World = world,
        Lanes = 5,
        Batch = 10,
        Dataset = "/nowhere",
        DatasetDigest = "abc",
        Samples = 100,
    };

    private async Task<FakeTrainer[]> Begin(int world = 2)
    {
        await Client.CreateRunAsync(Plan(world: world));
        var trainers = await Task.WhenAll(Enumerable.Range(0, world).Select(i => FakeTrainer.Join(_silo.GrpcAddress, "demo", $"trainer-{i}")));
        foreach (var trainer in trainers)
        {
            await trainer.Assignment();
        }

        return trainers;
    }

    private async Task<RunStatus> Until(Func<RunStatus, bool> holds)
    {
        using var deadline = new CancellationTokenSource(SiloProcess.Patience);
        using var watch = Client.WatchRun(new GetRunRequest { Run = "demo" }, cancellationToken: deadline.Token);
        while (await watch.ResponseStream.MoveNext(deadline.Token))
        {
            if (holds(watch.ResponseStream.Current))
            {
                return watch.ResponseStream.Current;
            }
        }

        throw new InvalidOperationException("The run ended before.");
    }

    private static async Task DisposeAll(FakeTrainer[] trainers)
    {
        foreach (var trainer in trainers)
        {
            await trainer.DisposeAsync();
        }
    }

    [Fact]
    public async Task Trainers_AreAssignedWhenTheWorldIsComplete_TrainAndComplete()
    {
        var created = await Client.CreateRunAsync(Plan());
        created.State.ShouldBe(RunState.Waiting);
        created.Reason.ShouldBe("waiting for 2 trainers");
        await using var b = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-1");
        await using var a = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-0");
        var first = await a.Assignment();
        var second = await b.Assignment();
        (first.Generation, first.Rank, first.World, first.LaneCount).ShouldBe((1, 0, 2, 5));
        first.DatasetDigest.ShouldBe("abc");
        first.Lanes.ShouldBe([0, 1, 2]);
        second.Lanes.ShouldBe([3, 4]);
        second.Rank.ShouldBe(1);
        second.RecipeYaml.ShouldBe(Plan().RecipeYaml);
        second.Peers.Select(p => (p.Name, p.Rank)).ShouldBe([("trainer-0", 0), ("trainer-1", 1)]);

        await a.Plan(40);
        await a.Applied(20);
        await b.Applied(10);
        var status = await Until(s => s.Step == 10 && s.TotalSteps == 40 && s.Loss > 0);
        status.State.ShouldBe(RunState.Training);
        status.Loss.ShouldBe(5);
        status.ImagesPerSecond.ShouldBe(640);
        status.Members.Select(m => (m.Name, m.Rank, m.Step, m.ProcessId, m.Alive))
            .ShouldBe([("trainer-0", 0, 20L, 4000, true), ("trainer-1", 1, 10L, 4001, true)]);

        await a.Applied(40);
        await b.Applied(40);
        await a.Leave(completed: true);
        await b.Leave(completed: true);
        var done = await Until(s => s.State == RunState.Completed);
        done.Step.ShouldBe(40);
        done.Reason.ShouldBe("all 2 trainers completed step 40.");
        (await a.Ended()).StatusCode.ShouldBe(StatusCode.OK);
    }

    [Fact]
    public async Task KilledTrainer_FailsTheRun_NamingIt_AndTheOthersAreToldToStop()
    {
        var trainers = await Begin();
        await trainers[1].Applied(7);
        await trainers[0].Applied(7);
        await Until(s => s.Step == 7);
        await trainers[1].Die();
        var status = await Until(s => s.State == RunState.Failed);
        status.Reason.ShouldStartWith("trainer-1 (rank 1, pid 4001) was lost at step 7: its session broke");
        status.Reason.ShouldContain("--resume");
        var stop = (await trainers[0].Next(SiloMessage.KindOneofCase.Stop)).Stop;
        stop.Failed.ShouldBeTrue();
        stop.Reason.ShouldBe(status.Reason);
        await DisposeAll(trainers);
    }

    [Fact]
    public async Task HungTrainer_FailsTheRun_AfterTheFailureTimeout()
    {
        var trainers = await Begin();
        await trainers[0].Hang();
        var status = await Until(s => s.State == RunState.Failed);
        status.Reason.ShouldStartWith("trainer-0 (rank 0, pid 4000) was lost at step 0: nothing was heard from it for 3");
        (await trainers[1].Next(SiloMessage.KindOneofCase.Stop)).Stop.Failed.ShouldBeTrue();
        await DisposeAll(trainers);
    }

    [Fact]
    public async Task FailedAndAccusedTrainers_AreNamedWithTheirReason()
    {
        var trainers = await Begin();
        await trainers[0].Accuse(1, "connection reset");
        await trainers[0].Leave(failed: true, reason: "lost a peer");
        await trainers[1].Leave(failed: true, reason: "loss is NaN at step 3");
        (await Until(s => s.State == RunState.Failed)).Reason
            .ShouldStartWith("trainer-1 (rank 1, pid 4001) failed at step 0: loss is NaN at step 3.");
        await DisposeAll(trainers);
    }

    [Fact]
    public async Task DifferentStateHash_FailsTheRun()
    {
        var trainers = await Begin();
        await trainers[0].Applied(50, [1, 2]);
        await trainers[1].Applied(50, [1, 3]);
        (await Until(s => s.State == RunState.Failed)).Reason.ShouldContain("differ after step 50: rank 0 has 0102 but rank 1 has 0103");
        await DisposeAll(trainers);
    }

    [Fact]
    public async Task SecondTrainerOfOneName_IsRefused_TheFirstGoesOn()
    {
        await Client.CreateRunAsync(Plan());
        await using var a = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-0");
        await a.Next(SiloMessage.KindOneofCase.HeartbeatAck);
        await using var twin = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-0", beats: false);
        var refused = await twin.Ended();
        refused.StatusCode.ShouldBe(StatusCode.AlreadyExists);
        refused.Detail.ShouldContain("has a trainer trainer-0 already (pid 4000");
        await using var b = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-1");
        (await a.Assignment()).World.ShouldBe(2);
    }

    [Fact]
    public async Task Join_UnknownRunOrOtherRecipe_IsRefused()
    {
        await using var lost = await FakeTrainer.Join(_silo.GrpcAddress, "none", "trainer-0", beats: false);
        (await lost.Ended()).ShouldBe(new Status(StatusCode.NotFound, "there is no run 'none'"));
        await Client.CreateRunAsync(Plan());
        await using var other = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-0", beats: false, digest: "wrong");
        (await other.Ended()).StatusCode.ShouldBe(StatusCode.FailedPrecondition);
    }

    [Fact]
    public async Task OldGeneration_IsRejected_AndItsSessionEnds()
    {
        var trainers = await Begin(world: 1);
        await trainers[0].Applied(3, generation: 7);
        var status = await trainers[0].Ended();
        status.StatusCode.ShouldBe(StatusCode.Aborted);
        status.Detail.ShouldBe("trainer-0 speaks for generation 7, but its generation is 1: what it did there does not count");
        (await Until(s => s.State == RunState.Failed)).Step.ShouldBe(0);
        await DisposeAll(trainers);
    }

    [Fact]
    public async Task LostWhileWaiting_ItsPlaceIsFreeAgain()
    {
        await Client.CreateRunAsync(Plan());
        await using var a = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-0");
        await a.Next(SiloMessage.KindOneofCase.HeartbeatAck);
        var b = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-0");
        (await b.Ended()).StatusCode.ShouldBe(StatusCode.AlreadyExists);
        await b.DisposeAsync();
        await a.Die();
        var again = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-0");
        while ((await Task.WhenAny(again.Ended(), again.Next(SiloMessage.KindOneofCase.HeartbeatAck))) is Task<Status>)
        {
            // The silo had not noticed yet that the first was gone.
            await again.DisposeAsync();
            again = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-0");
        }

        await using var c = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-1");
        (await again.Assignment()).Rank.ShouldBe(0);
        await again.DisposeAsync();
    }

    [Fact]
    public async Task StopRun_AsksTrainers_AndIsStoppedOnceTheyLeft()
    {
        var trainers = await Begin();
        await trainers[0].Applied(4);
        await trainers[1].Applied(4);
        await Until(s => s.Step == 4);
        await Client.StopRunAsync(new StopRunRequest { Run = "demo", Reason = "asked by a test" });
        foreach (var trainer in trainers)
        {
            var stop = (await trainer.Next(SiloMessage.KindOneofCase.Stop)).Stop;
            stop.Failed.ShouldBeFalse();
            stop.Reason.ShouldBe("asked by a test");
            await trainer.Leave(reason: "stopped");
        }

        (await Until(s => s.State == RunState.Stopped)).Reason.ShouldStartWith("Asked by a test at step 4.");
        await DisposeAll(trainers);
    }

    [Fact]
    public async Task Checkpoint_PublishedAndResumed_StartsTheNextGenerationThere()
    {
        var trainers = await Begin();
        await trainers[0].Plan(90);
        await trainers[0].Applied(40);
        await trainers[1].Applied(40);
        await Until(s => s.Step == 40 && s.TotalSteps == 90);
        var published = await Client.PublishCheckpointAsync(new PublishCheckpointRequest
        {
            Run = "demo",
            Generation = 1,
            Step = 40,
            Path = "/c/40",
            ManifestSha256 = ByteString.CopyFrom(new byte[32]),
        });
        (published.CheckpointStep, published.CheckpointPath).ShouldBe((40, "/c/40"));
        await trainers[0].Die();
        await Until(s => s.State == RunState.Failed);
        await DisposeAll(trainers);

        var resume = Plan(world: 1);
        resume.Resume = true;
        resume.StartStep = 40;
        (await Client.CreateRunAsync(resume)).State.ShouldBe(RunState.Waiting);
        await using var alone = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-0");
        var assignment = await alone.Assignment();
        (assignment.Generation, assignment.StartStep, assignment.CheckpointPath, assignment.TotalSteps).ShouldBe((2, 40, "/c/40", 90));
        assignment.Lanes.ShouldBe([0, 1, 2, 3, 4]);
        var stale = await Should.ThrowAsync<RpcException>(async () => await Client.PublishCheckpointAsync(new PublishCheckpointRequest
        {
            Run = "demo",
            Generation = 1,
            Step = 41,
            Path = "/c/41",
            ManifestSha256 = ByteString.CopyFrom(new byte[32]),
        }));
        stale.StatusCode.ShouldBe(StatusCode.Aborted);
    }

    [Fact]
    public async Task BadRequests_SayWhatIsWrong()
    {
        await Client.CreateRunAsync(Plan());
        (await Fails(() => Client.CreateRunAsync(Plan()))).ShouldBe(new Status(
            StatusCode.AlreadyExists, "run 'demo' exists and is waiting for trainers: watch it, stop it first, or choose another name"));
        (await Fails(() => Client.CreateRunAsync(Plan("a b", world: 6)))).Detail.ShouldContain("; world is 6");
        (await Fails(() => Client.GetRunAsync(new GetRunRequest { Run = "none" }))).StatusCode.ShouldBe(StatusCode.NotFound);
        (await Fails(() => Client.GetRunAsync(new GetRunRequest()))).StatusCode.ShouldBe(StatusCode.InvalidArgument);
        var resume = Plan("none");
        resume.Resume = true;
        (await Fails(() => Client.CreateRunAsync(resume))).ShouldBe(new Status(
            StatusCode.NotFound, "there is no run 'none' to resume: start it without --resume"));
        await Client.StopRunAsync(new StopRunRequest { Run = "demo" });
        var changed = Plan();
        changed.Resume = true;
        changed.RecipeYaml = changed.RecipeYaml.Replace("10", "20", StringComparison.Ordinal);
        (await Fails(() => Client.CreateRunAsync(changed))).Detail.ShouldContain("train.batch");
        (await Client.ListRunsAsync(new ListRunsRequest())).Runs.Select(r => (r.Run, r.State)).ShouldBe([("demo", RunState.Stopped)]);

        static async Task<Status> Fails<T>(Func<AsyncUnaryCall<T>> call) =>
            (await Should.ThrowAsync<RpcException>(async () => await call())).Status;
    }

    [Fact]
    public async Task LeasesAndQuarantine_FollowTheCatalogAndTheGeneration()
    {
        string dataset = Path.Combine(_folder.Path, "data");
        Directory.CreateDirectory(dataset);
        var catalog = Data.Catalog.Create([.. Enumerable.Range(0, 3).Select(i => new Data.ShardEntry($"s{i}.tar", 4, 512, 1))]);
        await File.WriteAllBytesAsync(
            Path.Combine(dataset, Data.Catalog.FileName), catalog.FileBytes.ToArray(), TestContext.Current.CancellationToken);
        var plan = Plan(world: 1);
        plan.Dataset = dataset;
        (await Should.ThrowAsync<RpcException>(async () => await Client.CreateRunAsync(plan))).Status.Detail.ShouldContain("has digest");
        plan.DatasetDigest = catalog.Digest;
        await Client.CreateRunAsync(plan);
        await using var trainer = await FakeTrainer.Join(_silo.GrpcAddress, "demo", "trainer-0");
        await trainer.Assignment();

        var request = new AcquireLeasesRequest { Run = "demo", Generation = 1, Trainer = "trainer-0" };
        request.Leases.Add(new ShardLane { Shard = 2, Lane = 1, Epoch = 3 });
        (await Client.AcquireLeasesAsync(request)).Granted.ShouldBe(request.Leases);
        request.Generation = 0;
        (await Should.ThrowAsync<RpcException>(async () => await Client.AcquireLeasesAsync(request))).StatusCode.ShouldBe(StatusCode.Aborted);
        request.Generation = 1;
        request.Leases[0].Shard = 3;
        (await Should.ThrowAsync<RpcException>(async () => await Client.AcquireLeasesAsync(request))).StatusCode
            .ShouldBe(StatusCode.InvalidArgument);

        var report = new QuarantineReport { Run = "demo", Trainer = "trainer-0" };
        report.Samples.Add(new QuarantinedSample { Shard = 1, Index = 2, Key = "k", Reason = "truncated" });
        (await Client.ReportQuarantineAsync(report)).Total.ShouldBe(1);
        (await Client.ReportQuarantineAsync(report)).Total.ShouldBe(1);
        report.Samples[0].Index = 3;
        (await Client.ReportQuarantineAsync(report)).Total.ShouldBe(2);
        (await Client.GetRunAsync(new GetRunRequest { Run = "demo" })).Quarantined.ShouldBe(2);
    }

    [Fact]
    public async Task HealthAndPage_Answer_AndEscape()
    {
        await Client.CreateRunAsync(Plan());
        await Client.StopRunAsync(new StopRunRequest { Run = "demo", Reason = "<script>" });
        using var http = new HttpClient { BaseAddress = _silo.HttpAddress };
        (await http.GetStringAsync("/health/live", TestContext.Current.CancellationToken)).ShouldBe("live\n");
        (await http.GetStringAsync("/health/ready", TestContext.Current.CancellationToken)).ShouldBe("ready\n");
        string page = await http.GetStringAsync("/", TestContext.Current.CancellationToken);
        page.ShouldContain("<td>demo<td>Stopped");
        page.ShouldContain("&lt;script&gt;");
        page.ShouldNotContain("<script>");
    }
}

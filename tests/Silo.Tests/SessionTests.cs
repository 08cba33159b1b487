using DarkMatter.Protocol;
using Grpc.Core;

namespace DarkMatter.Silo.Tests;

/// <summary>One session at a time, and the calls beside it.</summary>
public sealed class SessionTests : SiloTest
{
    [Fact]
    public async Task Trainers_StandBy_AreAssignedWhenTheWorldIsReady_TrainAndComplete()
    {
        var created = await Client.CreateRunAsync(Plan());
        created.State.ShouldBe(RunState.Waiting);
        created.Reason.ShouldBe("waiting for 2 trainers");
        (created.MinWorld, created.MaxWorld).ShouldBe((1, 5));
        var b = await Join(1);
        var standby = (await b.Next(SiloMessage.KindOneofCase.Standby)).Standby;
        (standby.RecipeYaml, standby.LaneCount, standby.DatasetDigest).ShouldBe((Plan().RecipeYaml, 5, "abc"));
        var a = await Join(0);
        var first = await a.Assignment();
        var second = await b.Assignment();
        (first.Generation, first.Rank, first.World, first.LaneCount).ShouldBe((1, 0, 2, 5));
        first.DatasetDigest.ShouldBe("abc");
        first.Reason.ShouldBe("generation 1: all 2 trainers joined (trainer-0, trainer-1)");
        first.Lanes.ShouldBe([0, 1, 2]);
        second.Lanes.ShouldBe([3, 4]);
        second.Rank.ShouldBe(1);
        second.RecipeYaml.ShouldBe(Plan().RecipeYaml);
        second.Peers.Select(p => (p.Name, p.Rank)).ShouldBe([("trainer-0", 0), ("trainer-1", 1)]);

        await a.Began(0);
        await a.Plan(40);
        await a.Applied(20);
        await b.Applied(10);
        var status = await Until(s => s.Step == 10 && s.TotalSteps == 40 && s.Loss > 0);
        status.State.ShouldBe(RunState.Training);
        status.Loss.ShouldBe(5);
        status.ImagesPerSecond.ShouldBe(640);
        status.Members.Select(m => (m.Name, m.Rank, m.Step, m.ProcessId, m.Alive, m.Spare))
            .ShouldBe([("trainer-0", 0, 20L, 4000, true, false), ("trainer-1", 1, 10L, 4001, true, false)]);

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
    public async Task SecondTrainerOfOneName_IsRefused_TheFirstGoesOn()
    {
        await Client.CreateRunAsync(Plan());
        var a = await Join(0);
        await a.Next(SiloMessage.KindOneofCase.HeartbeatAck);
        var refused = await (await Join(0, beats: false)).Ended();
        refused.StatusCode.ShouldBe(StatusCode.AlreadyExists);
        refused.Detail.ShouldContain("has a trainer trainer-0 already (pid 4000");
        await Join(1);
        (await a.Assignment()).World.ShouldBe(2);
    }

    [Fact]
    public async Task Join_UnknownRunOtherRecipeOrOldGeneration_IsRefused()
    {
        (await (await Join(0, "none", beats: false)).Ended()).ShouldBe(new Status(StatusCode.NotFound, "there is no run 'none'"));
        await Client.CreateRunAsync(Plan());
        (await (await Join(0, beats: false, digest: "wrong")).Ended()).StatusCode.ShouldBe(StatusCode.FailedPrecondition);
    }

    [Fact]
    public async Task OtherGeneration_IsRejected_AndItsSessionEnds()
    {
        var trainers = await Begin();
        await trainers[1].Applied(3, generation: 7);
        (await trainers[1].Ended()).ShouldBe(new Status(
            StatusCode.Aborted, "trainer-1 speaks for generation 7, but its generation is 1: what it did there does not count"));
        var next = await trainers[0].Assignment();
        (next.Generation, next.World, next.AtOnce).ShouldBe((2, 1, true));
        await trainers[0].Began(0);
        await trainers[0].Applied(3);
        await Until(s => s.Step == 3);
        await trainers[0].Applied(4, generation: 1);
        (await trainers[0].Ended()).Detail.ShouldBe(
            "trainer-0 speaks for generation 1, but its generation is 2: what it did there does not count");
    }

    [Fact]
    public async Task LostWhileWaiting_ItsPlaceIsFreeAgain()
    {
        await Client.CreateRunAsync(Plan());
        var a = await Join(0);
        await a.Next(SiloMessage.KindOneofCase.HeartbeatAck);
        await a.Die();
        var again = await JoinAgain(0);
        await Join(1);
        (await again.Assignment()).Rank.ShouldBe(0);
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
    }

    [Fact]
    public async Task RunThatFailsByItself_Ends_AndTheOthersAreToldToStop()
    {
        var trainers = await Begin();
        await trainers[1].Leave(runFailed: true, reason: "loss is NaN at step 3");
        (await Until(s => s.State == RunState.Failed)).Reason.ShouldStartWith("trainer-1 (rank 1, pid 4001) failed at step 0: loss is NaN at step 3.");
        (await trainers[0].Next(SiloMessage.KindOneofCase.Stop)).Stop.Failed.ShouldBeTrue();
    }

    [Fact]
    public async Task Checkpoint_PublishedAndResumed_StartsTheNextGenerationThere()
    {
        var trainers = await Begin();
        await trainers[0].Plan(90);
        await trainers[0].Applied(40);
        await trainers[1].Applied(40);
        await Until(s => s.Step == 40 && s.TotalSteps == 90);
        var published = await Client.PublishCheckpointAsync(Checkpoint(40));
        (published.CheckpointStep, published.CheckpointPath).ShouldBe((40, "/c/40"));
        await trainers[0].Leave(runFailed: true, reason: "NaN");
        await Until(s => s.State == RunState.Failed);

        var resume = Plan(world: 1);
        resume.Resume = true;
        resume.StartStep = 40;
        (await Client.CreateRunAsync(resume)).State.ShouldBe(RunState.Waiting);
        var alone = await Join(0);
        var assignment = await alone.Assignment();
        (assignment.Generation, assignment.StartStep, assignment.CheckpointPath, assignment.TotalSteps).ShouldBe((2, 40, "/c/40", 90));
        (assignment.CheckpointStep, assignment.CheckpointGeneration).ShouldBe((40, 1));
        assignment.Lanes.ShouldBe([0, 1, 2, 3, 4]);
        (await Fails(() => Client.PublishCheckpointAsync(Checkpoint(41)))).StatusCode.ShouldBe(StatusCode.Aborted);
        (await Fails(() => Client.CreateRunAsync(resume))).Detail.ShouldBe(
            "run 'demo' lives already, with trainer-0: watch it, or stop it before resuming");
    }

    [Fact]
    public async Task TwoRunsAtOnce_DoNotMix()
    {
        var first = await Begin(run: "one");
        var second = await Begin(world: 1, run: "two");
        await first[1].Die();
        (await first[0].Assignment()).World.ShouldBe(1);
        await second[0].Applied(9);
        var two = await Until(s => s.Step == 9, "two");
        (two.Generation, two.Notice).ShouldBe((1, ""));
        (await Until(s => s.Generation == 2, "one")).Step.ShouldBe(0);
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
    }

    [Fact]
    public async Task LeasesAndQuarantine_FollowTheCatalogAndTheGeneration()
    {
        string dataset = Path.Combine(Folder, "data");
        Directory.CreateDirectory(dataset);
        var catalog = Data.Catalog.Create([.. Enumerable.Range(0, 3).Select(i => new Data.ShardEntry($"s{i}.tar", 4, 512, 1))]);
        await File.WriteAllBytesAsync(
            Path.Combine(dataset, Data.Catalog.FileName), catalog.FileBytes.ToArray(), TestContext.Current.CancellationToken);
        var plan = Plan(world: 1);
        plan.Dataset = dataset;
        (await Should.ThrowAsync<RpcException>(async () => await Client.CreateRunAsync(plan))).Status.Detail.ShouldContain("has digest");
        plan.DatasetDigest = catalog.Digest;
        await Client.CreateRunAsync(plan);
        var trainer = await Join(0);
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
        (await Client.GetLedgerAsync(new GetRunRequest { Run = "demo" })).Quarantined.Select(s => (s.Shard, s.Index, s.Reason))
            .ShouldBe([(1, 2, "truncated"), (1, 3, "truncated")]);
    }

    [Fact]
    public async Task Quarantine_OfASiloThatDoesNotSeeTheDataset_IsInTheLedger()
    {
        await Client.CreateRunAsync(Plan());
        var report = new QuarantineReport { Run = "demo", Trainer = "trainer-0" };
        report.Samples.Add(new QuarantinedSample { Shard = 5000, Index = 7, Key = "k", Reason = "truncated" });
        report.Samples.Add(new QuarantinedSample { Shard = 3, Index = 1, Key = "l", Reason = "empty" });
        report.Samples.Add(new QuarantinedSample { Shard = -1, Index = 1, Key = "m", Reason = "nonsense" });
        (await Client.ReportQuarantineAsync(report)).Total.ShouldBe(2);
        (await Client.GetLedgerAsync(new GetRunRequest { Run = "demo" })).Quarantined.Select(s => (s.Shard, s.Index, s.Key))
            .ShouldBe([(3, 1, "l"), (5000, 7, "k")]);
    }

    [Fact]
    public async Task HealthAndPage_Answer_AndEscape()
    {
        await Client.CreateRunAsync(Plan());
        await Client.StopRunAsync(new StopRunRequest { Run = "demo", Reason = "<script>" });
        using var http = new HttpClient { BaseAddress = Http };
        (await http.GetStringAsync("/health/live", TestContext.Current.CancellationToken)).ShouldBe("live\n");
        (await http.GetStringAsync("/health/ready", TestContext.Current.CancellationToken)).ShouldBe("ready\n");
        string page = await http.GetStringAsync("/", TestContext.Current.CancellationToken);
        page.ShouldContain("<td>demo<td>Stopped");
        page.ShouldContain("&lt;script&gt;");
        page.ShouldNotContain("<script>");
    }
}

using System.Buffers;
using Azure.Core;
using Azure.Core.Pipeline;
using Azure.Storage.Blobs;
using DarkMatter.Trainer.Checkpoints;
using TorchSharp;
using RetryOptions = DarkMatter.Trainer.Checkpoints.RetryOptions;

namespace DarkMatter.Trainer.Tests.Checkpoints;

/// <summary>What may happen to a store while it is written: nothing becomes visible that is not whole, and the older checkpoint stays.</summary>
[Collection(PlacesCollection.Name)]
public sealed class CheckpointFaultTests(Places places)
{
    private static readonly byte[] Big = new byte[40 << 20];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Azurite_KilledMidUpload_NothingIsHalfPublished_AndTheOlderOneIsUsed()
    {
        await using var azurite = await Azurite.StartAsync();
        var blocks = new OnBlock(count => count == 2, azurite.Kill);
        using var store = Store(azurite, blocks, within: TimeSpan.FromSeconds(2));
        await store.PublishWholeAsync(10);
        await azurite.SettleAsync("10/manifest.json");

        var failure = await Should.ThrowAsync<CheckpointBlobException>(() =>
            store.WriteAsync(20, CheckpointKind.Model, 0, 1, new ReadOnlySequence<byte>(Big), Token));
        failure.Message.ShouldContain("does not answer");
        failure.Message.ShouldContain("20/model.safetensors");
        failure.IsTransient.ShouldBeTrue();
        blocks.Count.ShouldBeGreaterThanOrEqualTo(2, "it was killed between blocks");

        await azurite.StartAgainAsync();
        (await store.StepsAsync()).ShouldBe([10]);
        (await store.Blobs.NamesAsync("20/")).ShouldBeEmpty();
        (await store.FindNewestWholeAsync(_ => { }, Token))!.Progress.Step.ShouldBe(10);
        await store.PublishWholeAsync(20);
        await store.VerifyAsync(20, Token);
    }

    [Fact]
    public async Task Azurite_KilledMidUploadAndBack_TheUploadGoesOn()
    {
        await using var azurite = await Azurite.StartAsync();
        var killed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var blocks = new OnBlock(count => count == 2, () =>
        {
            azurite.Kill();
            killed.SetResult();
        });
        using var store = Store(azurite, blocks, within: TimeSpan.FromMinutes(2));
        var upload = store.WriteAsync(20, CheckpointKind.Model, 0, 1, new ReadOnlySequence<byte>(Big), Token);
        await killed.Task.WaitAsync(TimeSpan.FromMinutes(1), Token);
        await azurite.StartAgainAsync();
        await upload;
        (await store.Blobs.FindAsync("20/model.safetensors", Token))!.Bytes.ShouldBe(Big.Length);
    }

    [Fact]
    public async Task Azurite_GoneBetweenPartsAndManifest_TrainingGoesOnAndTheNextOneIsWhole()
    {
        await using var azurite = await Azurite.StartAsync();
        using var store = Store(azurite, policy: null, within: TimeSpan.FromSeconds(1));
        var coordinator = new KillBeforePublishing(azurite);
        var notes = new List<string>();
        using var writer = Writer(store, coordinator, notes);
        writer.Save(Attempts.Progress(10));
        Should.Throw<CheckpointException>(writer.Complete).Message.ShouldContain("checkpoint of step 10 could not be written");
        notes.ShouldHaveSingleItem();

        await azurite.StartAgainAsync();
        (await store.StepsAsync()).ShouldBeEmpty();
        (await store.Blobs.NamesAsync()).ShouldContain("10/model.safetensors");
        writer.Save(Attempts.Progress(20)).ShouldBeTrue();
        writer.Complete();
        (await store.StepsAsync()).ShouldBe([20]);
        (await store.Blobs.NamesAsync()).ShouldAllBe(name => name.StartsWith("20/", StringComparison.Ordinal), "what the attempt left is collected");
    }

    [Fact]
    public async Task FullDisk_SaysSo_TheOlderOnesStay_AndGoesOnOnceThereIsRoom()
    {
        using var disk = new SmallDisk(bytes: 1 << 20);
        using var store = new CheckpointStore(disk.Blobs);
        var notes = new List<string>();
        using var writer = Writer(store, new MemoryCoordinator(1), notes, floats: 75_000);
        for (long step = 10; step <= 30; step += 10)
        {
            writer.Save(Attempts.Progress(step), required: true);
            writer.Complete();
        }

        writer.Save(Attempts.Progress(40), required: true);
        var failure = Should.Throw<CheckpointException>(writer.Complete);
        failure.Message.ShouldContain("checkpoint of step 40 could not be written");
        failure.Message.ShouldContain("No space left on device");
        (await store.StepsAsync()).ShouldBe([10, 20, 30]);
        foreach (var step in await store.StepsAsync())
            await store.VerifyAsync(step, Token);
        (await store.Blobs.NamesAsync("40/")).ShouldBeEmpty("the attempt's parts are gone, unfinished ones too");

        await store.DeleteAsync(10, Token);
        writer.Save(Attempts.Progress(50), required: true);
        writer.Complete();
        (await store.FindNewestWholeAsync(_ => { }, Token))!.Progress.Step.ShouldBe(50);
    }

    /// <summary>
    /// The process dies before its k-th request to the store, for every k from the first to the last of a publication with retention: what
    /// is visible then is whole, and something is.
    /// </summary>
    [Theory]
    [InlineData(Places.Folder)]
    [InlineData(Places.Azure)]
    public async Task Death_AtAnyRequest_LeavesAWholeCheckpointAndNoHalfOne(string place)
    {
        var newest = new HashSet<long>();
        for (var deadline = 0; ; deadline++)
        {
            var inner = places.New(place);
            using var after = new CheckpointStore(inner);
            await after.PublishWholeAsync(10);
            await after.PublishWholeAsync(20, generation: 1, writer: "older generation");
            var requests = 0;
            using var store = new CheckpointStore(new WatchedBlobs(inner, (_, _, _) => ++requests > deadline ? throw new IOException("dead") : Task.CompletedTask));
            var survived = true;
            try
            {
                var published = await store.WritePartsAsync(20, generation: 2);
                await store.PublishAsync(published, Token);
                await store.CollectAsync(published, new CheckpointRetention(KeepLast: 1), Token);
            }
            catch (IOException)
            {
                survived = false;
            }

            foreach (var step in await after.StepsAsync())
                await after.VerifyAsync(step, Token);
            var whole = (await after.FindNewestWholeAsync(note => Assert.Fail(note), Token)).ShouldNotBeNull($"died at request {deadline}");
            newest.Add(whole.Progress.Step == 20 ? 10 * whole.Generation : 0);
            if (survived)
                break;
        }

        newest.ShouldBe([10, 20], ignoreOrder: true, "some deaths came before the publication and some after");
    }

    private static CheckpointStore Store(Azurite azurite, HttpPipelinePolicy? policy, TimeSpan within)
    {
        var options = AzureBlobs.ClientOptions(TimeSpan.FromSeconds(30));
        if (policy is not null)
            options.AddPolicy(policy, HttpPipelinePosition.PerCall);
        var retry = new Retry(new RetryOptions { First = TimeSpan.FromMilliseconds(100), Longest = TimeSpan.FromSeconds(1), Within = within }, TimeProvider.System);
        return new CheckpointStore(new AzureBlobs(new BlobContainerClient(azurite.ConnectionString, "faults", options), "run", retry));
    }

    private static CheckpointWriter Writer(CheckpointStore store, ICheckpointCoordinator coordinator, List<string> notes, int floats = 100) =>
        new(store, coordinator, new CheckpointWriterOptions { Generation = 1, Note = notes.Add }, new TensorSet([("w", torch.zeros(floats))]), new TensorSet([]));

    /// <summary>Counts the blocks that have arrived, and does something once.</summary>
    private sealed class OnBlock(Func<int, bool> when, Action act) : HttpPipelineSynchronousPolicy
    {
        private int _count;

        public int Count => Volatile.Read(ref _count);

        public override void OnReceivedResponse(HttpMessage message)
        {
            if (message.Request.Uri.Query.Contains("comp=block&", StringComparison.Ordinal) && message.Response.Status == 201 && when(Interlocked.Increment(ref _count)))
                act();
        }
    }

    private sealed class KillBeforePublishing(Azurite azurite) : ICheckpointCoordinator
    {
        public async Task<PartsCollected> ReportPartAsync(PartReport part, CancellationToken cancellationToken)
        {
            if (part.Step == 10)
            {
                await azurite.SettleAsync("10/recipe.yaml");
                azurite.Kill();
            }

            return new PartsCollected(true, part.Files);
        }

        public Task<bool> PublishAsync(PublishedCheckpoint checkpoint, CancellationToken cancellationToken) => Task.FromResult(true);
    }

    /// <summary>A file system of this size; where mounting one is not permitted, a folder that gives the same error at the same point.</summary>
    private sealed class SmallDisk : IDisposable
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("small-disk-").FullName;
        private readonly Tmpfs? _mounted;

        public SmallDisk(long bytes)
        {
            _mounted = Tmpfs.TryMount(_folder, bytes);
            var folder = new FolderBlobs(Path.Combine(_folder, "checkpoints"));
            Blobs = _mounted is not null ? folder : new WatchedBlobs(folder, (operation, _, _) =>
                operation == "put" && new DirectoryInfo(_folder).EnumerateFiles("*", SearchOption.AllDirectories).Sum(f => f.Length) > bytes - 300_000
                    ? throw new IOException("No space left on device", hresult: 28)
                    : Task.CompletedTask);
        }

        public ICheckpointBlobs Blobs { get; }

        public void Dispose()
        {
            _mounted?.Dispose();
            Directory.Delete(_folder, recursive: true);
        }
    }
}

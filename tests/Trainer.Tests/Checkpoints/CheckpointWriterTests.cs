using DarkMatter.Trainer.Checkpoints;
using TorchSharp;

namespace DarkMatter.Trainer.Tests.Checkpoints;

[Collection(PlacesCollection.Name)]
public sealed class CheckpointWriterTests(Places places)
{
    private readonly List<string> _notes = [];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(Places.Folder, 1)]
    [InlineData(Places.Folder, 3)]
    [InlineData(Places.Azure, 4)]
    [InlineData(Places.Folder, 9)]
    public async Task Save_EveryRankItsPart_TogetherTheyAreTheState(string place, int world)
    {
        using var store = new CheckpointStore(places.New(place));
        var coordinator = new MemoryCoordinator(generation: 2);
        var writers = Enumerable.Range(0, world).Select(rank => Writer(store, coordinator, State(1), State(2), rank, world)).ToList();
        Parallel.ForEach(writers, writer => writer.Save(Attempts.Progress(10)).ShouldBeTrue());
        writers.ForEach(writer => writer.Complete());

        _notes.ShouldBeEmpty();
        writers.Count(writer => writer.LatestPath == store.PathOf(10)).ShouldBe(1, "one rank published");
        coordinator.Published.ShouldHaveSingleItem().Step.ShouldBe(10);
        using var opened = await store.OpenAsync(10, Token);
        (opened.Manifest.World, opened.Manifest.Generation, opened.ModelFiles.Count).ShouldBe((world, 2, world));
        var (model, optimizer) = (State(0), State(0));
        model.Load(opened.ModelFiles);
        optimizer.Load(opened.OptimizerFiles);
        Numbers(model).ShouldBe(Numbers(State(1)));
        Numbers(optimizer).ShouldBe(Numbers(State(2)));
    }

    [Fact]
    public async Task Save_ARankIsLost_NothingBecomesVisible()
    {
        using var store = new CheckpointStore(places.New(Places.Folder));
        var coordinator = new MemoryCoordinator(generation: 1);
        foreach (var rank in new[] { 0, 2 })
        {
            var writer = Writer(store, coordinator, State(1), State(2), rank, world: 3);
            writer.Save(Attempts.Progress(10));
            writer.Complete();
            writer.LatestPath.ShouldBeNull();
        }

        (await store.StepsAsync()).ShouldBeEmpty();
        coordinator.Published.ShouldBeEmpty();
    }

    [Fact]
    public async Task Save_ChangesAfterItReturned_AreNotInTheCheckpoint()
    {
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var store = new CheckpointStore(new WatchedBlobs(places.New(Places.Folder), (_, _, cancellation) => gate.Task.WaitAsync(cancellation)));
        var state = State(1);
        using var writer = Writer(store, new MemoryCoordinator(1), state, State(2));
        writer.Save(Attempts.Progress(10));
        foreach (var (_, tensor) in state.Tensors)
            tensor.zero_();
        gate.SetResult();
        writer.Complete();

        using var opened = await store.OpenAsync(10, Token);
        var model = State(0);
        model.Load(opened.ModelFiles);
        Numbers(model).ShouldBe(Numbers(State(1)));
    }

    [Fact]
    public async Task Save_WhileTheOneBeforeIsStillWritten_IsLeftOutWithANote_UnlessRequired()
    {
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var store = new CheckpointStore(new WatchedBlobs(places.New(Places.Folder), (_, _, cancellation) => gate.Task.WaitAsync(cancellation)));
        using var writer = Writer(store, new MemoryCoordinator(1), State(1), State(2));
        writer.Save(Attempts.Progress(10)).ShouldBeTrue();
        writer.IsBusy.ShouldBeTrue();
        writer.Save(Attempts.Progress(20)).ShouldBeFalse();
        _notes.ShouldHaveSingleItem().ShouldContain("no checkpoint of step 20");

        var required = Task.Run(() => writer.Save(Attempts.Progress(30), required: true), Token);
        gate.SetResult();
        (await required).ShouldBeTrue();
        writer.Complete();
        writer.IsBusy.ShouldBeFalse();
        (await store.StepsAsync()).ShouldBe([10, 30]);
    }

    [Fact]
    public async Task Save_AfterAFailure_GoesOnWithTheNext()
    {
        var fail = true;
        using var store = new CheckpointStore(new WatchedBlobs(places.New(Places.Folder), (operation, _, _) => fail && operation == "put" ? throw new IOException("it hails") : Task.CompletedTask));
        using var writer = Writer(store, new MemoryCoordinator(1), State(1), State(2));
        writer.Save(Attempts.Progress(10)).ShouldBeTrue();
        Should.Throw<CheckpointException>(writer.Complete).Message.ShouldBe($"checkpoint of step 10 could not be written to '{store.PathOf(10)}': it hails Free space or choose another place; older checkpoints are untouched.");
        fail = false;
        writer.Save(Attempts.Progress(20)).ShouldBeTrue();
        writer.Complete();
        (await store.StepsAsync()).ShouldBe([20]);
        _notes.Count.ShouldBe(1);
    }

    [Fact]
    public async Task Save_TheRunHasLeftItsBranch_TheCheckpointDisappears()
    {
        using var store = new CheckpointStore(places.New(Places.Folder));
        using var writer = Writer(store, new MemoryCoordinator(1) { Accept = _ => false }, State(1), State(2));
        writer.Save(Attempts.Progress(10));
        Should.Throw<CheckpointException>(writer.Complete).Message.ShouldContain("the run has gone on from an earlier step");
        writer.LatestPath.ShouldBeNull();
        (await store.Blobs.NamesAsync()).ShouldBeEmpty();
    }

    [Fact]
    public async Task Dispose_InFlight_LeavesNothing()
    {
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var store = new CheckpointStore(new WatchedBlobs(places.New(Places.Folder), async (operation, name, cancellation) =>
        {
            if (operation != "put" || name.Contains("model", StringComparison.Ordinal))
                return;
            begun.TrySetResult();
            await Task.Delay(Timeout.Infinite, cancellation);
        }));
        var writer = Writer(store, new MemoryCoordinator(1), State(1), State(2));
        writer.Save(Attempts.Progress(10));
        await begun.Task.WaitAsync(TimeSpan.FromSeconds(30), Token);
        writer.Dispose();
        writer.Complete();
        _notes.ShouldBeEmpty();
        (await store.Blobs.NamesAsync()).ShouldBeEmpty();
        Should.Throw<ObjectDisposedException>(() => writer.Save(Attempts.Progress(20)));
    }

    [Fact]
    public void Complete_TheStoreHangs_EndsAtTheDeadline()
    {
        using var store = new CheckpointStore(new WatchedBlobs(places.New(Places.Folder), (_, _, cancellation) => Task.Delay(Timeout.Infinite, cancellation)));
        using var writer = new CheckpointWriter(
            store, new MemoryCoordinator(1), new CheckpointWriterOptions { Generation = 1, Deadline = TimeSpan.FromMilliseconds(200) }, State(1), State(2));
        writer.Save(Attempts.Progress(10));
        Should.Throw<CheckpointException>(writer.Complete).Message.ShouldContain("the store is too slow or hangs");
    }

    [Fact]
    public void Part_OfManyTensors_IsBalancedAndTheSameEverywhere()
    {
        var sizes = Enumerable.Range(1, 161).Select(i => 1 + (i * 7919 % 1000)).ToArray();
        var state = new TensorSet(sizes.Select((size, i) => ($"t{i}", torch.zeros(size))));
        var parts = Enumerable.Range(0, 8).Select(rank => state.Part(rank, 8)).ToList();
        parts.SelectMany(part => part.Tensors.Select(t => t.Name)).Order().ShouldBe(state.Tensors.Select(t => t.Name).Order());
        parts.Sum(part => part.Bytes).ShouldBe(state.Bytes);
        (parts.Max(part => part.Bytes) - parts.Min(part => part.Bytes)).ShouldBeLessThanOrEqualTo(4 * sizes.Max(), "no part is larger than another by more than one tensor");
        state.Part(5, 8).Tensors.Select(t => t.Name).ShouldBe(parts[5].Tensors.Select(t => t.Name));
    }

    private CheckpointWriter Writer(CheckpointStore store, ICheckpointCoordinator coordinator, TensorSet model, TensorSet optimizer, int rank = 0, int world = 1) =>
        new(store, coordinator, new CheckpointWriterOptions { Rank = rank, World = world, Generation = 2, Recipe = "name: test\n", Note = Note, Patience = TimeSpan.Zero }, model, optimizer);

    private void Note(string note)
    {
        lock (_notes)
            _notes.Add(note);
    }

    /// <summary>Tensors of several sizes and types, whose numbers depend on the seed.</summary>
    private static TensorSet State(int seed) => new(
    [
        .. Enumerable.Range(0, 6).Select(i => ($"layer{i}.weight", torch.arange(1 + (i * 100)).mul(seed + i).to(torch.float32))),
        ("steps", torch.full([1], seed, torch.int64)),
    ]);

    private static IReadOnlyList<double> Numbers(TensorSet state) =>
        [.. state.Tensors.OrderBy(t => t.Name, StringComparer.Ordinal).SelectMany(t => t.Tensor.to(torch.float64).data<double>().ToArray())];
}

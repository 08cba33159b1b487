using System.Security.Cryptography;

namespace DarkMatter.Data.Tests.Batches;

public class PretrainLoaderTests
{
    private static readonly ViewRecipe Recipe = new()
    {
        Size = 9,
        ScaleMin = 0.3,
        ColorJitter = new ColorJitterRecipe { Probability = 0.8, Brightness = 0.4, Contrast = 0.4, Saturation = 0.4, Hue = 0.1 },
        GrayscaleProbability = 0.2,
        Blur = new BlurRecipe { Probability = 0.5, KernelSize = 3 },
        SolarizeProbability = 0.1,
    };

    [Fact]
    public async Task Batches_AnyWorkersPrefetchAndCache_AreTheSameBytes()
    {
        using var scratch = new Scratch();
        var options = Options(await Photos.Packed(scratch, 57));
        var expected = await Read(options with { Workers = 1, PrefetchBatches = 1, CacheBytes = 0 }, 20);
        foreach (var (workers, prefetch, cache) in new[] { (1, 2, 1 << 20), (3, 4, 1 << 20), (4, 1, 0), (2, 3, 5000) })
            (await Read(options with { Workers = workers, PrefetchBatches = prefetch, CacheBytes = cache }, 20)).ShouldBe(expected);
    }

    [Fact]
    public async Task Batches_AnyWorldSize_AreTheSameGlobalBatch()
    {
        using var scratch = new Scratch();
        var options = Options(await Photos.Packed(scratch, 57));
        var one = await Read(options, 12);
        foreach (var world in new[] { 2, 3, 4 })
        {
            var ranks = new List<List<string>>();
            for (var rank = 0; rank < world; rank++)
            {
                int first = rank * 4 / world, end = (rank + 1) * 4 / world;
                ranks.Add(await Read(options with { Lanes = [.. Enumerable.Range(first, end - first)] }, 12));
            }

            for (var step = 0; step < 12; step++)
                string.Concat(ranks.Select(rank => rank[step])).ShouldBe(one[step]);
        }
    }

    [Fact]
    public async Task StartStep_Seek_EqualsWalk()
    {
        using var scratch = new Scratch();
        var options = Options(await Photos.Packed(scratch, 57));
        var walked = await Read(options, 30);
        foreach (var start in new[] { 1, 7, 29 })
            (await Read(options with { StartStep = start }, 30 - start)).ShouldBe(walked[start..]);
        (await Read(options with { StartStep = 1_000_000_000_000 }, 2)).Count.ShouldBe(2);
    }

    [Fact]
    public async Task Epoch_AllBatches_HoldEverySampleOnce()
    {
        using var scratch = new Scratch();
        var options = Options(await Photos.Packed(scratch, 61)); // 64 samples, 8 a step
        await using var loader = PretrainLoader.Open(options);
        for (var epoch = 0; epoch < 2; epoch++)
        {
            var keys = new List<string>();
            for (var step = 0; step < 8; step++)
            {
                using var batch = await loader.ReadAsync(default);
                batch.Step.ShouldBe(epoch * 8 + step);
                batch.Count.ShouldBe(8);
                keys.AddRange(batch.Keys);
            }

            keys.Distinct().Count().ShouldBe(64);
        }
    }

    [Fact]
    public async Task Views_OfOneSample_DifferFromEachOtherAndFromTheNextEpoch()
    {
        using var scratch = new Scratch();
        await using var loader = PretrainLoader.Open(Options(await Photos.Packed(scratch, 61)));
        var seen = new HashSet<string>();
        for (var step = 0; step < 16; step++)
        {
            using var batch = await loader.ReadAsync(default);
            for (var view = 0; view < 2; view++)
            {
                for (var i = 0; i < batch.Count; i++)
                    seen.Add(Convert.ToHexString(batch.View(view).Span.Slice(i * 243, 243)));
            }
        }

        seen.Count.ShouldBe(256);
    }

    [Fact]
    public async Task View_OfABatch_IsTheDrawnView()
    {
        using var scratch = new Scratch();
        var options = Options(await Photos.Packed(scratch, 57));
        await using var loader = PretrainLoader.Open(options with { StartStep = 9 });
        using var batch = await loader.ReadAsync(default);
        using var open = Dataset.Open(options.DatasetPath);
        using var codec = new ImageCodec();
        var order = new SampleOrder(options.Seed, open.Catalog.ShardCounts, 4, options.BlockSize);
        for (var row = 0; row < 8; row++)
        {
            var place = order.Locate(options.Lanes[row / 2], 9 * 2 + row % 2);
            var index = await open.IndexAsync(place.Address.Shard, default);
            batch.Keys[row].ShouldBe(index.Key(place.Address.Sample));
            batch.Numbers[row].ShouldBe(open.Catalog.SampleNumber(place.Address));
            var file = await open.ReadAsync(place.Address.Shard, index.Image(place.Address.Sample), new ByteBuffer(), default);
            for (var view = 0; view < 2; view++)
            {
                var image = codec.Decode(file.Span);
                var key = KeyedRandom.ForView(options.Seed, place.Epoch, open.Catalog.SampleNumber(place.Address), view);
                var expected = new byte[243];
                new ViewRenderer().Render(image, ViewParameters.Draw(key, Recipe, image.Region.Width, image.Region.Height), Recipe, expected);
                batch.View(view).Span.Slice(row * 243, 243).ToArray().ShouldBe(expected);
            }
        }
    }

    [Fact]
    public async Task BrokenSample_AnyWorkers_IsReplacedByTheNextAndReportedOnce()
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 57);
        var key = await Photos.Break(dataset, new SampleAddress(2, 9));
        using var open = Dataset.Open(dataset);
        var replacement = (await open.IndexAsync(2, default)).Key(0);

        List<string>? first = null;
        foreach (var workers in new[] { 1, 3 })
        {
            var quarantined = new List<QuarantinedSample>();
            var batches = await Read(Options(dataset) with { Workers = workers, CacheBytes = 0 }, 24, quarantined);
            first ??= batches;
            batches.ShouldBe(first);
            quarantined.Count.ShouldBe(1);
            quarantined[0].Address.ShouldBe(new SampleAddress(2, 9));
            quarantined[0].Key.ShouldBe(key);
            quarantined[0].Reason.ShouldNotBeEmpty();
            quarantined[0].Replacement.ShouldBe(new SampleAddress(2, 0));
            quarantined[0].ReplacementKey.ShouldBe(replacement);
            string.Concat(batches).ShouldNotContain(key + ":");
        }
    }

    [Fact]
    public async Task Digest_AnyWorldSize_AddsUpToThatOfTheOrder()
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 57);
        await Photos.Break(dataset, new SampleAddress(2, 9)); // a replaced sample counts where it stands
        var options = Options(dataset) with { StartStep = 3 };
        var order = new SampleOrder(options.Seed, Catalog.Load(dataset).ShardCounts, options.LaneCount, options.BlockSize);
        var expected = Enumerable.Range(3, 12).Select(step => SampleDigest.OfStep(order, options.GlobalBatch, step)).ToArray();
        foreach (var world in new[] { 1, 2, 3, 4 })
        {
            var sums = new ulong[12];
            for (var rank = 0; rank < world; rank++)
            {
                int first = rank * 4 / world, end = (rank + 1) * 4 / world;
                await using var loader = PretrainLoader.Open(options with { Lanes = [.. Enumerable.Range(first, end - first)], Workers = 1 + rank });
                for (var step = 0; step < sums.Length; step++)
                {
                    using var batch = await loader.ReadAsync(TestContext.Current.CancellationToken);
                    sums[step] += batch.Digest;
                }
            }

            sums.ShouldBe(expected);
        }
    }

    [Fact]
    public async Task Shard_AllBroken_EndsTheRunWithItsName()
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 17);
        for (var sample = 0; sample < 10; sample++)
            await Photos.Break(dataset, new SampleAddress(1, sample));
        var error = await Should.ThrowAsync<DatasetException>(() => Read(Options(dataset), 5));
        error.Where.ShouldBe(Path.Combine(dataset, "shard-000001.tar"));
        error.Message.ShouldContain("is broken (");
        error.Message.ShouldContain(", and so are the 9 after it. The shard is damaged: copy it again, or pack the dataset again.");
    }

    [Theory]
    [InlineData("cut off")]
    [InlineData("missing")]
    [InlineData("index missing")]
    [InlineData("index of another")]
    public async Task Shard_Damaged_SaysWhatAndWhere(string damage)
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 57);
        var tar = Path.Combine(dataset, "shard-000003.tar");
        string expected;
        switch (damage)
        {
            case "cut off":
                var length = new FileInfo(tar).Length;
                using (var file = File.OpenWrite(tar))
                    file.SetLength(700);
                expected = $"{tar}: the shard is cut off: it has 700 bytes instead of {length}. Copy the shard again";
                break;
            case "missing":
                File.Delete(tar);
                expected = $"{tar}: the file is missing. Check the path.";
                break;
            case "index missing":
                File.Delete(tar + ".index");
                expected = $"{tar}.index: the shard's index is missing. Copy the whole dataset folder, or pack it again.";
                break;
            default:
                File.Copy(Path.Combine(dataset, "shard-000002.tar.index"), tar + ".index", overwrite: true);
                expected = $"{tar}.index: the index is not the one the catalog lists: files of two datasets are mixed.";
                break;
        }

        (await Should.ThrowAsync<DatasetException>(() => Read(Options(dataset), 8))).Message.ShouldStartWith(expected);
    }

    [Fact]
    public async Task Dispose_WithUnreadAndHeldBatches_LeaksNoBuffer()
    {
        using var scratch = new Scratch();
        var loader = PretrainLoader.Open(Options(await Photos.Packed(scratch, 57)) with { PrefetchBatches = 5, Workers = 2 });
        var held = await loader.ReadAsync(default);
        (await loader.ReadAsync(default)).Dispose();
        await loader.DisposeAsync();
        await loader.DisposeAsync();
        loader.BuffersRented.ShouldBe(2);
        held.View(1).Length.ShouldBe(8 * 243);
        held.Dispose();
        held.Dispose();
        loader.BuffersRented.ShouldBe(0);
        Should.Throw<ObjectDisposedException>(() => held.View(0));
        await Should.ThrowAsync<ObjectDisposedException>(async () => await loader.ReadAsync(default));
    }

    [Fact]
    public async Task Read_Steadily_ReusesItsBuffers()
    {
        using var scratch = new Scratch();
        await using var loader = PretrainLoader.Open(Options(await Photos.Packed(scratch, 61)) with { Workers = 2, PrefetchBatches = 3 });
        for (var step = 0; step < 60; step++)
            (await loader.ReadAsync(default)).Dispose();
        loader.BuffersAllocated.ShouldBeLessThanOrEqualTo((3 + 2) * 2);
    }

    [Fact]
    public async Task Read_Cancelled_LosesNothing()
    {
        using var scratch = new Scratch();
        var options = Options(await Photos.Packed(scratch, 57));
        var expected = await Read(options, 3);
        await using var loader = PretrainLoader.Open(options);
        await Should.ThrowAsync<OperationCanceledException>(async () => await loader.ReadAsync(new CancellationToken(canceled: true)));
        for (var step = 0; step < 3; step++)
        {
            using var batch = await loader.ReadAsync(default);
            Text(batch).ShouldBe(expected[step]);
        }
    }

    [Fact]
    public async Task Read_StorageHangs_TimesOutWithAMessage()
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 17);
        using var hung = new HungStore(dataset);
        await using var loader = PretrainLoader.Open(Options(dataset) with { ReadTimeout = TimeSpan.FromMilliseconds(50) }, new Dataset(Catalog.Load(dataset), hung));
        (await Should.ThrowAsync<TimeoutException>(async () => await loader.ReadAsync(default))).Message
            .ShouldBe($"No batch was ready within 0.1 s from {dataset}. Use more data workers or smaller views, or check the storage.");
    }

    [Fact]
    public async Task Read_TwoAtOnce_IsTheCallersMistake()
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 17);
        using var hung = new HungStore(dataset);
        await using var loader = PretrainLoader.Open(Options(dataset), new Dataset(Catalog.Load(dataset), hung));
        var first = loader.ReadAsync(default).AsTask();
        await Should.ThrowAsync<InvalidOperationException>(async () => await loader.ReadAsync(default));
        await loader.DisposeAsync();
        await Should.ThrowAsync<ObjectDisposedException>(() => first);
    }

    [Fact]
    public void Open_MissingDataset_SaysSo()
    {
        using var scratch = new Scratch();
        Should.Throw<DatasetException>(() => PretrainLoader.Open(Options(scratch["nowhere"]))).Message
            .ShouldBe($"{scratch["nowhere"]}: there is no dataset. Check the path. Make one with `darkmatter pack`.");
    }

    [Fact]
    public async Task Open_MoreLanesThanImages_SaysSo()
    {
        using var scratch = new Scratch();
        var dataset = await Photos.Packed(scratch, 2);
        Should.Throw<DatasetException>(() => PretrainLoader.Open(Options(dataset) with { LaneCount = 8, GlobalBatch = 8, Lanes = [0] })).Message
            .ShouldContain("the dataset has 5 images for 8 lanes");
    }

    [Fact]
    public void Open_UnsoundOptions_ListsEveryProblem()
    {
        var message = Should.Throw<ArgumentException>(() => PretrainLoader.Open(new PretrainLoaderOptions
        {
            DatasetPath = "x",
            LaneCount = 3,
            Lanes = [0, 3, 0],
            GlobalBatch = 8,
            StartStep = -1,
            Views = [new ViewRecipe { Size = 0 }],
            Workers = 0,
            PrefetchBatches = 0,
            BlockSize = 0,
            CacheBytes = -1,
            ReadTimeout = TimeSpan.Zero,
        })).Message;
        foreach (var problem in new[]
        {
            "GlobalBatch 8 is not divisible by LaneCount 3", "each is 0 to 2", "none may stand there twice", "StartStep is -1", "Views[0].Size is 0", "Workers is 0",
            "PrefetchBatches is 0", "BlockSize is 0", "CacheBytes is -1", "ReadTimeout is 00:00:00",
        })
        {
            message.ShouldContain(problem);
        }
    }

    private static PretrainLoaderOptions Options(string dataset) => new()
    {
        DatasetPath = dataset,
        Seed = 42,
        LaneCount = 4,
        Lanes = [0, 1, 2, 3],
        GlobalBatch = 8,
        Views = [Recipe, Recipe],
        BlockSize = 11,
    };

    /// <summary>Reads so many batches: their keys and all their bytes, row by row.</summary>
    private static async Task<List<string>> Read(PretrainLoaderOptions options, int steps, List<QuarantinedSample>? quarantined = null)
    {
        await using var loader = PretrainLoader.Open(options);
        loader.Quarantined += sample => quarantined?.Add(sample);
        var batches = new List<string>();
        for (var step = 0; step < steps; step++)
        {
            using var batch = await loader.ReadAsync(TestContext.Current.CancellationToken);
            batches.Add(Text(batch));
        }

        return batches;
    }

    private static string Text(PretrainBatch batch) =>
        string.Concat(Enumerable.Range(0, batch.Count).Select(row => $"{batch.Keys[row]}: {Digest(batch, 0, row)} {Digest(batch, 1, row)}\n"));

    private static string Digest(PretrainBatch batch, int view, int row) => Convert.ToHexString(SHA256.HashData(batch.View(view).Span.Slice(row * 243, 243)), 0, 8);

    /// <summary>A store that answers when it is cancelled.</summary>
    private sealed class HungStore(string location) : IBlobStore
    {
        public string Location => location;

        public async ValueTask<long?> FindLengthAsync(string name, CancellationToken cancellation)
        {
            await Task.Delay(Timeout.Infinite, cancellation);
            return null;
        }

        public async ValueTask<int> ReadAsync(string name, long offset, Memory<byte> into, CancellationToken cancellation)
        {
            await Task.Delay(Timeout.Infinite, cancellation);
            return 0;
        }

        public void Dispose()
        {
        }
    }
}

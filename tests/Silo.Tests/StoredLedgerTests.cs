using DarkMatter.Grains;
using Orleans;
using Orleans.Runtime;

namespace DarkMatter.Silo.Tests;

public sealed class StoredLedgerTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Read_WhileASiloOwnsTheFolder_HasTheNewestWrite()
    {
        using var storage = new FileGrainStorage(Path.Combine(_folder.Path, "grains"));
        var generation = new GenerationRecord
        {
            Number = 3,
            StartStep = 5,
            CommittedStep = 9,
            DigestStep = 9,
            SamplesDigest = ulong.MaxValue - 1,
            Began = true,
            Trainers = ["a", "b"],
            Lanes = 4,
            Source = "memory of generation 2",
            Healed = [1],
            BeganAt = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero),
        };
        var run = new RunRecord
        {
            State = RunState.Training,
            Plan = new RunPlan { Batch = 8, Lanes = 4, Dataset = "/data", DatasetDigest = "abc", RecipeYaml = "name: x\n" },
            TotalSteps = 20,
            Progress = new RunProgress { Generation = 3, Step = 9 },
            Generations = [generation],
        };
        await Store(storage, "run", GrainId.Create("run", "demo"), run);
        await Store(storage, "ledger", GrainId.Create("run", "demo"), new SealedGenerations { Generations = [new GenerationRecord { Number = 2 }, generation] });
        await Store(storage, "shards", GrainId.Create("shardrange", ShardRange.KeyOf("demo", 0)), Broken(7));
        await Store(storage, "shards", GrainId.Create("shardrange", ShardRange.KeyOf("demo", 1)), Broken(1030));
        await Store(storage, "shards", GrainId.Create("shardrange", ShardRange.KeyOf("demo-2", 0)), Broken(3));

        var ledger = StoredLedger.Read(_folder.Path, "demo").ShouldNotBeNull();
        ledger.ShouldBe(RunLedger.Of("demo", run, []) with { Generations = ledger.Generations, Quarantined = ledger.Quarantined });
        ledger.Generations.Select(g => g.Number).ShouldBe([2, 3]); // the older part is stored apart
        var read = ledger.Generations[1];
        read.ShouldBe(generation with { Trainers = read.Trainers, Healed = read.Healed });
        read.Trainers.ShouldBe(["a", "b"]);
        read.Healed.ShouldBe([1]);
        ledger.Quarantined.Select(broken => broken.Shard).ShouldBe([7, 1030]);
        StoredLedger.Runs(_folder.Path).ShouldBe(["demo"]);
    }

    [Fact]
    public void Read_NoSuchRun_IsNull()
    {
        StoredLedger.Read(_folder.Path, "demo").ShouldBeNull();
        StoredLedger.Runs(_folder.Path).ShouldBeEmpty();
    }

    [Fact]
    public async Task Read_DamagedFile_SaysWhichAndWhatToDo()
    {
        using var storage = new FileGrainStorage(Path.Combine(_folder.Path, "grains"));
        await Store(storage, "run", GrainId.Create("run", "demo"), new RunRecord());
        string path = storage.PathOf("run", GrainId.Create("run", "demo"));
        byte[] bytes = await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken);
        bytes[^3] ^= 1;
        await File.WriteAllBytesAsync(path, bytes, TestContext.Current.CancellationToken);
        Should.Throw<InvalidDataException>(() => StoredLedger.Read(_folder.Path, "demo")).Message.ShouldStartWith($"{path} is damaged: ");
    }

    private static ShardRangeRecord Broken(int shard) => new() { Quarantined = [new BrokenSample { Shard = shard, Key = "k" }] };

    private static Task Store<T>(FileGrainStorage storage, string name, GrainId grain, T state) where T : new() =>
        storage.WriteStateAsync(name, grain, new GrainState<T>(state));
}

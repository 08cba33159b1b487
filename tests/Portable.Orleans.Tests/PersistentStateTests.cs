using Microsoft.Extensions.DependencyInjection;
using Orleans;
using Orleans.Runtime;
using Orleans.Runtime.Hosting;
using Orleans.Storage;

namespace DarkMatter.Portable.Orleans.Tests;

[GenerateSerializer]
public sealed class Tally
{
    [Id(0)]
    public int Count { get; set; }

    [Id(1)]
    public List<string> Names { get; init; } = [];
}

public interface ITallyGrain : IGrainWithStringKey
{
    Task<int> Add(string name);

    Task ChangeWithoutWriting();

    Task<Tally> Get();

    Task<bool> Exists();

    Task Reread();

    Task Clear();

    Task End();

    Task<string?> Tag();
}

public interface ITwinTallyGrain : ITallyGrain;

public interface IBrokenStoreGrain : ITallyGrain;

public interface INoStoreGrain : IGrainWithStringKey
{
    Task Nothing();
}

public class TallyGrain([PersistentState("tally", "store")] IPersistentState<Tally> tally) : Grain, ITallyGrain
{
    public async Task<int> Add(string name)
    {
        tally.State.Count++;
        tally.State.Names.Add(name);
        await tally.WriteStateAsync();
        return tally.State.Count;
    }

    public Task ChangeWithoutWriting()
    {
        tally.State.Count = 1000;
        return Task.CompletedTask;
    }

    public Task<Tally> Get() => Task.FromResult(tally.State);

    public Task<bool> Exists() => Task.FromResult(tally.RecordExists);

    public Task Reread() => tally.ReadStateAsync();

    public Task Clear() => tally.ClearStateAsync();

    public Task End()
    {
        DeactivateOnIdle();
        return Task.CompletedTask;
    }

    public Task<string?> Tag() => Task.FromResult(tally.Etag);
}

/// <summary>Shares its stored record with <see cref="TallyGrain"/> through <see cref="SameRecordStorage"/>: two writers of one state.</summary>
public sealed class TwinTallyGrain([PersistentState("tally", "same")] IPersistentState<Tally> tally)
    : TallyGrain(tally), ITwinTallyGrain;

public sealed class BrokenStoreGrain([PersistentState("tally", "broken")] IPersistentState<Tally> tally)
    : TallyGrain(tally), IBrokenStoreGrain;

public sealed class NoStoreGrain([PersistentState("tally", "absent")] IPersistentState<Tally> tally) : Grain, INoStoreGrain
{
    public Task Nothing() => tally.ReadStateAsync();
}

/// <summary>Stores every grain's state under one grain id.</summary>
public sealed class SameRecordStorage(IGrainStorage inner) : IGrainStorage
{
    private static readonly GrainId s_one = GrainId.Create("one", "record");

    public Task ReadStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) =>
        inner.ReadStateAsync(stateName, s_one, grainState);

    public Task WriteStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) =>
        inner.WriteStateAsync(stateName, s_one, grainState);

    public Task ClearStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) =>
        inner.ClearStateAsync(stateName, s_one, grainState);
}

public sealed class BrokenStorage : IGrainStorage
{
    public bool ReadsFail { get; set; }

    public Task ReadStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) =>
        ReadsFail ? throw new IOException("the disk is gone") : Task.CompletedTask;

    public async Task WriteStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        await Task.Yield();
        throw new IOException("the disk is full");
    }

    public Task ClearStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) => Task.CompletedTask;
}

public sealed class PersistentStateTests
{
    private static ITallyGrain Tally(TestSilo silo, string key) => silo.Client.GetGrain<ITallyGrain>(key, typeof(TallyGrain).FullName);

    [Fact]
    public async Task State_Written_IsReadByTheNextActivation_UnwrittenIsNot()
    {
        await using var silo = await TestSilo.Start();
        var grain = Tally(silo, "x");
        (await grain.Exists()).ShouldBeFalse();
        (await grain.Get()).Names.ShouldBeEmpty();
        (await grain.Add("a")).ShouldBe(1);
        (await grain.Add("b")).ShouldBe(2);
        await grain.ChangeWithoutWriting();
        await grain.End();

        var stored = await grain.Get();
        stored.Count.ShouldBe(2);
        stored.Names.ShouldBe(["a", "b"]);
        (await grain.Exists()).ShouldBeTrue();
        (await Tally(silo, "y").Exists()).ShouldBeFalse();
    }

    [Fact]
    public async Task Reading_BringsBackWhatIsStored_ClearingForgetsIt()
    {
        await using var silo = await TestSilo.Start();
        var grain = Tally(silo, "x");
        await grain.Add("a");
        await grain.ChangeWithoutWriting();
        await grain.Reread();
        (await grain.Get()).Count.ShouldBe(1);

        await grain.Clear();
        (await grain.Exists()).ShouldBeFalse();
        (await grain.Get()).Count.ShouldBe(0);
        (await grain.Tag()).ShouldBeNull();
        (await grain.Add("again")).ShouldBe(1);
    }

    [Fact]
    public async Task Etag_ChangesWithEveryWrite()
    {
        await using var silo = await TestSilo.Start();
        var grain = Tally(silo, "x");
        (await grain.Tag()).ShouldBeNull();
        await grain.Add("a");
        string first = (await grain.Tag()).ShouldNotBeNull();
        await grain.Add("b");
        (await grain.Tag()).ShouldNotBe(first);
    }

    [Fact]
    public async Task SecondWriter_GetsAConflict_AndStartsOverFromTheStoredState()
    {
        await using var silo = await TestSilo.Start(s => s.Services.AddGrainStorage(
            "same", (services, _) => new SameRecordStorage(services.GetRequiredKeyedService<IGrainStorage>("store"))));
        var a = silo.Client.GetGrain<ITwinTallyGrain>("a");
        var b = silo.Client.GetGrain<ITwinTallyGrain>("b");
        (await a.Exists()).ShouldBeFalse();
        (await b.Exists()).ShouldBeFalse();
        await a.Add("from a");

        var conflict = await Should.ThrowAsync<InconsistentStateException>(() => b.Add("from b"));
        conflict.StoredEtag.ShouldBe(await a.Tag());
        conflict.CurrentEtag.ShouldBeNull();

        // b was deactivated by the conflict: its next activation has read what a wrote.
        (await b.Add("from b")).ShouldBe(2);
        (await b.Get()).Names.ShouldBe(["from a", "from b"]);
        await Should.ThrowAsync<InconsistentStateException>(() => a.Clear());
    }

    [Fact]
    public async Task StorageFailure_NamesProviderOperationAndGrain()
    {
        var storage = new BrokenStorage();
        await using var silo = await TestSilo.Start(s => s.Services.AddGrainStorage("broken", (_, _) => storage));
        var grain = silo.Client.GetGrain<IBrokenStoreGrain>("x");
        var thrown = await Should.ThrowAsync<OrleansException>(() => grain.Add("a"));
        thrown.Message.ShouldStartWith("Error from storage provider BrokenStorage.tally during WriteStateAsync for grain brokenstore/x");
        thrown.Message.ShouldContain("the disk is full");
        thrown.InnerException.ShouldBeOfType<IOException>();

        // A grain whose state cannot be read does not start; once it can, it does.
        await grain.End();
        storage.ReadsFail = true;
        (await Should.ThrowAsync<OrleansException>(() => grain.Get())).Message.ShouldContain("during ReadStateAsync");
        storage.ReadsFail = false;
        (await grain.Get()).Count.ShouldBe(0);
    }

    [Fact]
    public async Task MissingProvider_IsNamed()
    {
        await using var silo = await TestSilo.Start();
        (await Should.ThrowAsync<InvalidOperationException>(() => silo.Client.GetGrain<INoStoreGrain>("x").Nothing()))
            .Message.ShouldContain("No storage provider named \"absent\"");
    }
}

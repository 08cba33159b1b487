using System.Collections.Immutable;
using Orleans;
using Orleans.Concurrency;
using Orleans.Serialization;

namespace DarkMatter.Portable.Orleans.Tests;

[GenerateSerializer]
public enum Colour
{
    None = 0,
    Red = 1,
}

[GenerateSerializer, Alias("tests.thing")]
public class Thing
{
    [Id(0)]
    public string Name { get; set; } = "";

    [Id(1)]
    public List<int> Numbers { get; init; } = [];

    [Id(2)]
    public Thing? Next { get; set; }

    [Id(3)]
    public int? Maybe { get; set; }

    [Id(4)]
    private int _hidden;

    public string NotCarried { get; set; } = "initial";

    public int Hidden
    {
        get => _hidden;
        set => _hidden = value;
    }
}

[GenerateSerializer]
public sealed class BiggerThing : Thing
{
    [Id(0)]
    public Dictionary<string, byte[]> Blobs { get; init; } = [];
}

[GenerateSerializer]
public sealed record Pair(string Left, List<string> Right)
{
    [Id(0)]
    public Colour Colour { get; init; }
}

[GenerateSerializer]
public readonly record struct Place(int X, int[] Ys);

[GenerateSerializer, Immutable]
public sealed record Frozen(byte[] Bytes);

public sealed class Unmarked
{
    public int Value { get; set; }
}

[GenerateSerializer]
public sealed class HoldsUnmarked
{
    [Id(0)]
    public object? Inner { get; set; }
}

public interface IKeepGrain : IGrainWithStringKey
{
    Task Keep(object? value);

    Task<object?> Get();

    Task<bool> AreSame(object a, object b);

    Task KeepImmutable([Immutable] byte[] value);

    Task KeepWrapped(Immutable<byte[]> value);
}

public sealed class KeepGrain : Grain, IKeepGrain
{
    private object? _kept;

    /// <summary>The very object the grain holds, for tests of sharing.</summary>
    public static object? LastKept { get; private set; }

    public Task Keep(object? value)
    {
        LastKept = _kept = value;
        return Task.CompletedTask;
    }

    public Task<object?> Get() => Task.FromResult(_kept);

    public Task<bool> AreSame(object a, object b) => Task.FromResult(ReferenceEquals(a, b));

    public Task KeepImmutable(byte[] value) => Keep(value);

    public Task KeepWrapped(Immutable<byte[]> value) => Keep(value.Value);
}

public sealed class IsolationTests
{
    private static async Task<T> RoundTrip<T>(TestSilo silo, T value)
    {
        var grain = silo.Client.GetGrain<IKeepGrain>(Guid.NewGuid().ToString());
        await grain.Keep(value);
        return (T)(await grain.Get())!;
    }

    [Fact]
    public async Task CallerChangingAnArgument_DoesNotChangeTheGrainsCopy_NorTheOtherWay()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<IKeepGrain>("x");
        var mine = new Thing { Name = "a", Numbers = [1, 2], Next = new Thing { Name = "n" }, Maybe = 7, Hidden = 5, NotCarried = "lost" };
        await grain.Keep(mine);
        mine.Name = "changed";
        mine.Numbers.Add(3);
        mine.Next.Name = "changed";

        var first = (Thing)(await grain.Get())!;
        first.Name.ShouldBe("a");
        first.Numbers.ShouldBe([1, 2]);
        first.Next!.Name.ShouldBe("n");
        first.Maybe.ShouldBe(7);
        first.Hidden.ShouldBe(5);
        first.NotCarried.ShouldBe("initial");

        first.Numbers.Clear();
        first.Next.Name = "changed";
        var second = (Thing)(await grain.Get())!;
        second.Numbers.ShouldBe([1, 2]);
        second.Next!.Name.ShouldBe("n");
    }

    [Fact]
    public async Task Argument_ChangedRightAfterTheCallReturnsItsTask_IsAlreadyCopied()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<IKeepGrain>("x");
        var list = new List<int> { 1 };
        var call = grain.Keep(list);
        list.Add(2);
        await call;
        ((List<int>)(await grain.Get())!).ShouldBe([1]);
    }

    [Fact]
    public async Task DerivedTypesRecordsAndStructs_AreCopiedWhole()
    {
        await using var silo = await TestSilo.Start();
        var big = new BiggerThing { Name = "b", Numbers = [4], Blobs = { ["k"] = [1, 2, 3] } };
        var bigCopy = await RoundTrip<Thing>(silo, big);
        var typed = bigCopy.ShouldBeOfType<BiggerThing>();
        typed.Blobs["k"].ShouldBe([1, 2, 3]);
        typed.Blobs["k"].ShouldNotBeSameAs(big.Blobs["k"]);
        typed.Numbers.ShouldBe([4]);

        var pair = new Pair("l", ["r"]) { Colour = Colour.Red };
        var pairCopy = await RoundTrip(silo, pair);
        pairCopy.Left.ShouldBe("l");
        pairCopy.Colour.ShouldBe(Colour.Red);
        pairCopy.Right.ShouldBe(["r"]);
        pairCopy.Right.ShouldNotBeSameAs(pair.Right);

        var place = new Place(3, [1, 2]);
        var placeCopy = await RoundTrip(silo, place);
        placeCopy.X.ShouldBe(3);
        placeCopy.Ys.ShouldBe([1, 2]);
        placeCopy.Ys.ShouldNotBeSameAs(place.Ys);
    }

    public static TheoryData<object> Collections => new()
    {
        new[] { 1, 2 },
        new[,] { { 1, 2 }, { 3, 4 } },
        new[] { new Place(1, [2]) }.Select(p => p.X).ToArray(),
        new List<string> { "a" },
        new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase) { ["A"] = 1 },
        new SortedDictionary<int, string> { [1] = "a" },
        new HashSet<int> { 1 },
        new SortedSet<int> { 2, 1 },
        new Queue<int>([1, 2]),
        new Stack<int>([1, 2, 3]),
        new List<int> { 1 }.AsReadOnly(),
        ImmutableArray.Create(new List<int> { 1 }).ToArray(),
        ImmutableList.Create("a"),
        ImmutableDictionary.CreateRange([KeyValuePair.Create("a", 1)]),
        new Dictionary<int, List<int>> { [1] = [2] }.Keys.ToList(),
    };

    [Theory]
    [MemberData(nameof(Collections))]
    public async Task Collections_ArriveEqualAndSeparate(object value)
    {
        await using var silo = await TestSilo.Start();
        var copy = await RoundTrip(silo, value);
        copy.GetType().ShouldBe(value.GetType());
        ((System.Collections.IEnumerable)copy).Cast<object>().ShouldBe(((System.Collections.IEnumerable)value).Cast<object>());
        if (!value.GetType().Name.StartsWith("Immutable", StringComparison.Ordinal))
        {
            copy.ShouldNotBeSameAs(value);
        }

        if (copy is Dictionary<string, int> caseless)
        {
            caseless["a"].ShouldBe(1);
        }
    }

    [Fact]
    public async Task CollectionsOfThings_AreCopiedThrough()
    {
        await using var silo = await TestSilo.Start();
        var thing = new Thing { Name = "t" };
        (await RoundTrip(silo, new[] { thing }))[0].ShouldNotBeSameAs(thing);
        (await RoundTrip(silo, new[] { new Place(1, [9]) }))[0].Ys.ShouldBe([9]);
        (await RoundTrip(silo, new Dictionary<int, Thing> { [1] = thing }))[1].ShouldNotBeSameAs(thing);
        (await RoundTrip(silo, ImmutableArray.Create(thing)))[0].ShouldNotBeSameAs(thing);
        (await RoundTrip(silo, ImmutableList.Create(thing)))[0].ShouldNotBeSameAs(thing);
        var tuple = await RoundTrip(silo, (1, thing));
        tuple.Item1.ShouldBe(1);
        tuple.thing.ShouldNotBeSameAs(thing);
        tuple.thing.Name.ShouldBe("t");
        byte[] bytes = [1, 2, 3, 4];
        var memory = await RoundTrip<ReadOnlyMemory<byte>>(silo, bytes.AsMemory(1, 2));
        bytes[1] = 99;
        memory.ToArray().ShouldBe([2, 3]);
    }

    [Fact]
    public async Task OneObjectTwice_StaysOne_AndCyclesEnd()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<IKeepGrain>("x");
        var thing = new Thing();
        (await grain.AreSame(thing, thing)).ShouldBeTrue();
        (await grain.AreSame(new Thing(), new Thing())).ShouldBeFalse();

        thing.Next = thing;
        var copy = await RoundTrip(silo, thing);
        copy.Next.ShouldBeSameAs(copy);
        copy.ShouldNotBeSameAs(thing);
    }

    [Fact]
    public async Task ImmutableValues_AreShared()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<IKeepGrain>("x");
        byte[] bytes = [1];
        await grain.KeepImmutable(bytes);
        KeepGrain.LastKept.ShouldBeSameAs(bytes);
        await grain.KeepWrapped(bytes.AsImmutable());
        KeepGrain.LastKept.ShouldBeSameAs(bytes);
        var frozen = new Frozen(bytes);
        await grain.Keep(frozen);
        KeepGrain.LastKept.ShouldBeSameAs(frozen);
        await grain.Keep(bytes);
        KeepGrain.LastKept.ShouldNotBeSameAs(bytes);
    }

    [Fact]
    public async Task TypeWithoutGenerateSerializer_IsRefusedByName()
    {
        await using var silo = await TestSilo.Start();
        var grain = silo.Client.GetGrain<IKeepGrain>("x");
        (await Should.ThrowAsync<CodecNotFoundException>(() => grain.Keep(new Unmarked())))
            .Message.ShouldStartWith($"Could not find a copier for type {typeof(Unmarked)}.");
        await Should.ThrowAsync<CodecNotFoundException>(() => grain.Keep(new HoldsUnmarked { Inner = new Unmarked() }));
        await Should.ThrowAsync<CodecNotFoundException>(() => grain.Keep(new List<Unmarked> { new() }));
        await grain.Keep(new HoldsUnmarked { Inner = "fine" });

        // A result is copied on the grain's side; its failure reaches the caller too.
        await grain.KeepImmutable([1]);
        (await grain.Get()).ShouldBe(new byte[] { 1 });
    }
}

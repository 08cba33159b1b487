using System.Collections.Immutable;
using Orleans;
using Orleans.Runtime;

namespace DarkMatter.Grains;

/// <summary>Everything stored of the list of runs.</summary>
[GenerateSerializer, Alias("darkmatter.RunListRecord")]
public sealed record RunListRecord
{
    /// <summary>In order of creation.</summary>
    [Id(0)]
    public ImmutableList<string> Names { get; init; } = [];
}

/// <summary>Keeps the names of all runs. Asked when a run is created or listed, never while one trains.</summary>
[GrainType("runlist")]
public sealed class RunListGrain([PersistentState("runs", GrainStorageNames.State)] IPersistentState<RunListRecord> stored)
    : Grain, IRunListGrain
{
    /// <inheritdoc/>
    public Task Add(string run) => stored.State.Names.Contains(run)
        ? Task.CompletedTask
        : stored.Replace(stored.State with { Names = stored.State.Names.Add(run) });

    /// <inheritdoc/>
    public Task<ImmutableArray<string>> Names() => Task.FromResult<ImmutableArray<string>>([.. stored.State.Names.Order(StringComparer.Ordinal)]);
}

using System.Collections.Immutable;
using Orleans;
using Orleans.Concurrency;

namespace DarkMatter.Grains;

/// <summary>The right to read a shard for a lane in an epoch.</summary>
[GenerateSerializer, Alias("darkmatter.ShardLease")]
public sealed record ShardLease
{
    /// <summary>Number in the catalog.</summary>
    [Id(0)]
    public int Shard { get; init; }

    /// <summary>The lane it is read for.</summary>
    [Id(1)]
    public int Lane { get; init; }

    /// <summary>The epoch it is read in.</summary>
    [Id(2)]
    public long Epoch { get; init; }
}

/// <summary>Leases granted, or why none was.</summary>
[GenerateSerializer, Alias("darkmatter.LeaseAnswer")]
public sealed record LeaseAnswer
{
    /// <summary>None when leases were granted.</summary>
    [Id(0)]
    public Refusal Refusal { get; init; }

    /// <summary>Why none was, for people.</summary>
    [Id(1)]
    public string Message { get; init; } = "";

    /// <summary>Those that the trainer holds now.</summary>
    [Id(2)]
    public ImmutableArray<ShardLease> Granted { get; init; } = [];
}

/// <summary>A sample that could not be read.</summary>
[GenerateSerializer, Alias("darkmatter.QuarantinedSample")]
public sealed record BrokenSample
{
    /// <summary>Number in the catalog.</summary>
    [Id(0)]
    public int Shard { get; init; }

    /// <summary>Number in the shard.</summary>
    [Id(1)]
    public int Index { get; init; }

    /// <summary>Its WebDataset key.</summary>
    [Id(2)]
    public string Key { get; init; } = "";

    /// <summary>What is wrong with it.</summary>
    [Id(3)]
    public string Reason { get; init; } = "";

    /// <summary>Who found it.</summary>
    [Id(4)]
    public string Trainer { get; init; } = "";
}

/// <summary>A shard as the range knows it.</summary>
[GenerateSerializer, Alias("darkmatter.ShardDescriptor")]
public sealed record ShardDescriptor
{
    /// <summary>Number in the catalog.</summary>
    [Id(0)]
    public int Shard { get; init; }

    /// <summary>Its file.</summary>
    [Id(1)]
    public string Tar { get; init; } = "";

    /// <summary>Images in it.</summary>
    [Id(2)]
    public int Samples { get; init; }
}

/// <summary>1,024 neighbouring shards of a run's dataset. The key is <see cref="ShardRange.KeyOf"/>.</summary>
[Alias("darkmatter.IShardRangeGrain")]
public interface IShardRangeGrain : IGrainWithStringKey
{
    /// <summary>
    /// Grants leases to a trainer in a generation. A newer generation takes the leases of older ones; an older one is refused whole.
    /// A lease another trainer of the same generation holds is left out.
    /// </summary>
    [Alias("Acquire")]
    Task<LeaseAnswer> Acquire(long generation, string trainer, ImmutableArray<ShardLease> leases);

    /// <summary>Notes broken samples; durable when it returns how many of them were new.</summary>
    [Alias("Quarantine")]
    Task<int> Quarantine(ImmutableArray<BrokenSample> samples);

    /// <summary>The broken samples so far.</summary>
    [ReadOnly, Alias("Quarantined")]
    Task<ImmutableArray<BrokenSample>> Quarantined();

    /// <summary>The shards of the range in catalog order.</summary>
    [ReadOnly, Alias("Describe")]
    Task<ImmutableArray<ShardDescriptor>> Describe();
}

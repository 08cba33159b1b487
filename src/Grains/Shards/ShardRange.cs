using System.Collections.Immutable;
using System.Globalization;
using Orleans;

namespace DarkMatter.Grains;

/// <summary>Everything stored of a shard range.</summary>
[GenerateSerializer, Alias("darkmatter.ShardRangeRecord")]
public sealed record ShardRangeRecord
{
    /// <summary>Newest generation that was granted a lease: older ones are fenced out, also after a restart.</summary>
    [Id(0)]
    public long Generation { get; init; }

    /// <summary>Each (shard, index) once; at most <see cref="ShardRange.MaxQuarantined"/>.</summary>
    [Id(1)]
    public ImmutableList<BrokenSample> Quarantined { get; init; } = [];
}

/// <summary>The decisions of a shard range, without storage: who may read which shard for which lane. <c>ShardRangeGrain</c> hosts it.</summary>
public sealed class ShardRange
{
    /// <summary>Shards of one range.</summary>
    public const int Size = 1024;

    /// <summary>Broken samples one range remembers; a dataset with more is not worth training on.</summary>
    public const int MaxQuarantined = 65_536;

    /// <summary>Leases one range holds at a time; those of the oldest epoch go first.</summary>
    public const int MaxLeases = 1 << 18;

    private readonly Dictionary<ShardLease, string> _holders = [];

    /// <summary>A range without leases that fences out generations before this one.</summary>
    public ShardRange(long generation) => Generation = generation;

    /// <summary>Newest generation seen.</summary>
    public long Generation { get; private set; }

    /// <summary>The range of a shard.</summary>
    public static int Of(int shard) => shard / Size;

    /// <summary>The grain key of a run's range.</summary>
    public static string KeyOf(string run, int range) => string.Create(CultureInfo.InvariantCulture, $"{run}/{range:D4}");

    /// <summary>The run and range of a grain key.</summary>
    public static (string Run, int Range) Parse(string key)
    {
        int slash = key.LastIndexOf('/');
        return (key[..slash], int.Parse(key[(slash + 1)..], CultureInfo.InvariantCulture));
    }

    /// <summary>Grants what is free or held by the trainer itself; an old generation is refused whole.</summary>
    public LeaseAnswer Acquire(long generation, string trainer, ImmutableArray<ShardLease> leases)
    {
        if (generation < Generation)
        {
            return new LeaseAnswer
            {
                Refusal = Refusal.StaleGeneration,
                Message = $"{trainer} asked for leases in generation {generation}, but generation {Generation} has begun: "
                    + "this trainer no longer belongs to the run",
            };
        }

        if (generation > Generation)
        {
            _holders.Clear();
            Generation = generation;
        }

        var granted = ImmutableArray.CreateBuilder<ShardLease>(leases.Length);
        foreach (var lease in leases)
        {
            if (!_holders.TryGetValue(lease, out string? holder))
            {
                _holders.Add(lease, holder = trainer);
            }

            if (holder == trainer)
            {
                granted.Add(lease);
            }
        }

        if (_holders.Count > MaxLeases)
        {
            long oldest = _holders.Keys.Min(l => l.Epoch);
            foreach (var lease in _holders.Keys.Where(l => l.Epoch == oldest).ToArray())
            {
                _holders.Remove(lease);
            }
        }

        return new LeaseAnswer { Granted = granted.ToImmutable() };
    }

    /// <summary>The record with samples that it did not have; each (shard, index) counts once.</summary>
    public static ShardRangeRecord Quarantine(ShardRangeRecord record, ImmutableArray<BrokenSample> samples)
    {
        var known = record.Quarantined.Select(s => (s.Shard, s.Index)).ToHashSet();
        var added = samples.Where(s => known.Count < MaxQuarantined && known.Add((s.Shard, s.Index)));
        return record with { Quarantined = record.Quarantined.AddRange(added) };
    }
}

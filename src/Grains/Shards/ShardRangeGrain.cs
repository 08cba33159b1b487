using System.Collections.Immutable;
using DarkMatter.Data;
using Orleans;
using Orleans.Runtime;

namespace DarkMatter.Grains;

/// <summary>Hosts a <see cref="ShardRange"/>: descriptors from the dataset's catalog, leases in memory, fence and quarantine stored.</summary>
[GrainType("shardrange")]
public sealed class ShardRangeGrain(
    [PersistentState("shards", GrainStorageNames.State)] IPersistentState<ShardRangeRecord> stored) : Grain, IShardRangeGrain
{
    private ImmutableArray<ShardDescriptor> _shards = [];
    private ShardRange _range = new(0);
    private bool _seesDataset;

    /// <inheritdoc/>
    public override async Task OnActivateAsync(CancellationToken cancellationToken)
    {
        var (run, range) = ShardRange.Parse(this.GetPrimaryKeyString());
        var plan = (await GrainFactory.GetGrain<IRunGrain>(run).Get())?.Plan
            ?? throw new InvalidOperationException($"There is no run '{run}' whose shards could be leased.");
        _range = new ShardRange(stored.State.Generation);
        // A silo need not see the dataset: then it takes the trainers' word for which shards there are.
        _seesDataset = Directory.Exists(plan.Dataset);
        if (_seesDataset)
        {
            var shards = await Task.Run(() => Catalog.Load(plan.Dataset).Shards, cancellationToken);
            _shards =
            [
                .. shards.Skip(range * ShardRange.Size).Take(ShardRange.Size)
                    .Select((s, i) => new ShardDescriptor { Shard = (range * ShardRange.Size) + i, Tar = s.Tar, Samples = s.Samples }),
            ];
        }
    }

    /// <inheritdoc/>
    public async Task<LeaseAnswer> Acquire(long generation, string trainer, ImmutableArray<ShardLease> leases)
    {
        if (_seesDataset && leases.FirstOrDefault(l => Find(l.Shard) is null) is { } unknown)
        {
            return new LeaseAnswer { Refusal = Refusal.InvalidArgument, Message = $"the dataset has no shard {unknown.Shard}" };
        }

        if (generation > stored.State.Generation)
        {
            // The fence is durable before a lease of the new generation is out.
            await stored.Replace(stored.State with { Generation = generation });
        }

        return _range.Acquire(generation, trainer, leases);
    }

    /// <inheritdoc/>
    public async Task<int> Quarantine(ImmutableArray<BrokenSample> samples)
    {
        var known = samples.Where(s => s.Index >= 0 && (!_seesDataset || (Find(s.Shard) is { } shard && s.Index < shard.Samples)));
        var before = stored.State;
        var next = ShardRange.Quarantine(before, [.. known]);
        int added = next.Quarantined.Count - before.Quarantined.Count;
        if (added > 0)
        {
            await stored.Replace(next);
        }

        return added;
    }

    /// <inheritdoc/>
    public Task<ImmutableArray<BrokenSample>> Quarantined() => Task.FromResult<ImmutableArray<BrokenSample>>([.. stored.State.Quarantined]);

    /// <inheritdoc/>
    public Task<ImmutableArray<ShardDescriptor>> Describe() => Task.FromResult(_shards);

    private ShardDescriptor? Find(int shard)
    {
        int first = _shards.IsEmpty ? 0 : _shards[0].Shard;
        int i = shard - first;
        return i >= 0 && i < _shards.Length ? _shards[i] : null;
    }
}

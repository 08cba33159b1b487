using System.Collections.Immutable;
using Orleans;
using Orleans.Runtime;

namespace DarkMatter.Grains;

/// <summary>Everything stored of a run's publication.</summary>
[GenerateSerializer, Alias("darkmatter.CheckpointState")]
public sealed record CheckpointState
{
    /// <summary>The newest published checkpoint, or null.</summary>
    [Id(0)]
    public CheckpointRecord? Newest { get; init; }

    /// <summary>Parts that ranks have reported: a silo that comes back still knows them.</summary>
    [Id(1)]
    public ImmutableArray<PartCollection> Collections { get; init; } = [];
}

/// <summary>Hosts <see cref="CheckpointParts"/> and <see cref="CheckpointPublication"/>: what it answers is stored first.</summary>
[GrainType("checkpoint")]
public sealed class CheckpointGrain(
    [PersistentState("checkpoint", GrainStorageNames.State)] IPersistentState<CheckpointState> stored) : Grain, ICheckpointGrain
{
    /// <inheritdoc/>
    public async Task<PartAnswer> ReportPart(CheckpointPartReport part)
    {
        var (next, answer) = CheckpointParts.Add(stored.State.Collections.IsDefault ? [] : stored.State.Collections, part);
        if (answer.Refusal == Refusal.None && !next.SequenceEqual(stored.State.Collections))
        {
            await stored.Replace(stored.State with { Collections = next });
        }

        return answer;
    }

    /// <inheritdoc/>
    public async Task<RunAnswer> Publish(CheckpointRecord checkpoint)
    {
        if (CheckpointPublication.Refuse(stored.State.Newest, checkpoint) is { } refused)
        {
            return RunAnswer.Refused(refused.Refusal, refused.Message);
        }

        // The ledger first: it knows whether the generation still counts.
        var noted = await GrainFactory.GetGrain<IRunGrain>(this.GetPrimaryKeyString()).NoteCheckpoint(checkpoint);
        var newest = CheckpointPublication.Newest(stored.State.Newest, checkpoint);
        if (noted.Refusal == Refusal.None && stored.State.Newest != newest)
        {
            await stored.Replace(stored.State with { Newest = newest });
        }

        return noted;
    }

    /// <inheritdoc/>
    public Task<CheckpointRecord?> Newest() => Task.FromResult(stored.State.Newest);
}

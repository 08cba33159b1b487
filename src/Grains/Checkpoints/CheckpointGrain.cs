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
}

/// <summary>Hosts <see cref="CheckpointPublication"/>: stores the newest checkpoint, then has the run's ledger note it.</summary>
[GrainType("checkpoint")]
public sealed class CheckpointGrain(
    [PersistentState("checkpoint", GrainStorageNames.State)] IPersistentState<CheckpointState> stored) : Grain, ICheckpointGrain
{
    /// <inheritdoc/>
    public async Task<RunAnswer> Publish(CheckpointRecord checkpoint)
    {
        if (CheckpointPublication.Refuse(stored.State.Newest, checkpoint) is { } refused)
        {
            return RunAnswer.Refused(refused.Refusal, refused.Message);
        }

        // The ledger first: it knows whether the generation is the current one.
        var noted = await GrainFactory.GetGrain<IRunGrain>(this.GetPrimaryKeyString()).NoteCheckpoint(checkpoint);
        if (noted.Refusal == Refusal.None && stored.State.Newest != checkpoint)
        {
            await stored.Replace(new CheckpointState { Newest = checkpoint });
        }

        return noted;
    }

    /// <inheritdoc/>
    public Task<CheckpointRecord?> Newest() => Task.FromResult(stored.State.Newest);
}

using Orleans;
using Orleans.Concurrency;

namespace DarkMatter.Grains;

/// <summary>Publication of a run's checkpoints. The key is the run's name.</summary>
[Alias("darkmatter.ICheckpointGrain")]
public interface ICheckpointGrain : IGrainWithStringKey
{
    /// <summary>
    /// Makes a whole and verified checkpoint the run's newest; durable when it returns. Publishing the same one again changes nothing;
    /// another one of the same step and generation, or one of an old generation, is refused.
    /// </summary>
    [Alias("Publish")]
    Task<RunAnswer> Publish(CheckpointRecord checkpoint);

    /// <summary>The newest published checkpoint, or null.</summary>
    [ReadOnly, Alias("Newest")]
    Task<CheckpointRecord?> Newest();
}

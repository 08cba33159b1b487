namespace DarkMatter.Grains;

/// <summary>Decides whether a checkpoint may become a run's newest. <c>CheckpointGrain</c> hosts it.</summary>
public static class CheckpointPublication
{
    private const int Sha256HexLength = 64;

    /// <summary>Why the checkpoint is refused; null when it may be published.</summary>
    public static (Refusal Refusal, string Message)? Refuse(CheckpointRecord? newest, CheckpointRecord checkpoint)
    {
        if (checkpoint.Step < 1 || string.IsNullOrWhiteSpace(checkpoint.Path) || checkpoint.ManifestSha256.Length != Sha256HexLength)
        {
            return (Refusal.InvalidArgument,
                "a checkpoint is published with a step of at least 1, its path, and the 32 bytes of its manifest's SHA-256; "
                + $"step is {checkpoint.Step}, path '{checkpoint.Path}', SHA-256 has {checkpoint.ManifestSha256.Length / 2} bytes");
        }

        if (newest is null)
        {
            return null;
        }

        if (checkpoint.Generation < newest.Generation)
        {
            return (Refusal.StaleGeneration,
                $"the checkpoint of step {checkpoint.Step} comes from generation {checkpoint.Generation}, "
                + $"but generation {newest.Generation} has published already");
        }

        if (checkpoint.Generation == newest.Generation && checkpoint.Step <= newest.Step && checkpoint != newest)
        {
            return (Refusal.FailedPrecondition,
                $"the checkpoint of step {checkpoint.Step} comes after that of step {newest.Step} in the same generation");
        }

        return null;
    }
}

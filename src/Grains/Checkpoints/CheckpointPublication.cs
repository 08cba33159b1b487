namespace DarkMatter.Grains;

/// <summary>
/// Decides whether a checkpoint may be published, as far as its own record tells; the run's ledger (<see cref="Run.NoteCheckpoint"/>)
/// knows which generations count. <c>CheckpointGrain</c> hosts it.
/// </summary>
public static class CheckpointPublication
{
    /// <summary>Digits of a SHA-256.</summary>
    public const int Sha256HexLength = 64;

    /// <summary>Why the checkpoint is refused; null when the ledger may be asked.</summary>
    public static (Refusal Refusal, string Message)? Refuse(CheckpointRecord? newest, CheckpointRecord checkpoint)
    {
        if (checkpoint.Step < 1 || string.IsNullOrWhiteSpace(checkpoint.Path) || checkpoint.ManifestSha256.Length != Sha256HexLength)
        {
            return (Refusal.InvalidArgument,
                "a checkpoint is published with a step of at least 1, its path, and the 32 bytes of its manifest's SHA-256; "
                + $"step is {checkpoint.Step}, path '{checkpoint.Path}', SHA-256 has {checkpoint.ManifestSha256.Length / 2} bytes");
        }

        if (newest is not null && checkpoint.Generation == newest.Generation && checkpoint.Step <= newest.Step && checkpoint != newest)
        {
            return (Refusal.FailedPrecondition,
                $"the checkpoint of step {checkpoint.Step} comes after that of step {newest.Step} in the same generation");
        }

        return null;
    }

    /// <summary>The newest of two: an upload that outlived its generation does not become the newest again.</summary>
    public static CheckpointRecord Newest(CheckpointRecord? known, CheckpointRecord published) =>
        known is not null && (published.Generation < known.Generation && published.Step <= known.Step) ? known : published;
}

using DarkMatter.Protocol;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>Where the trainer stands, for whoever must be told again.</summary>
internal sealed class Place
{
    public long Generation { get; set; }

    public int Rank { get; set; } = -1;

    public int World { get; set; }

    public long Step { get; set; } = -1;

    /// <summary>Grows while the generation prepares: it copies, or reads a checkpoint.</summary>
    public long Progress { get; set; }

    public TrainerMessage? Began { get; set; }

    public TrainerMessage? Plan { get; set; }

    public TrainerMessage? Reported { get; set; }

    public void Leave() => (Generation, Rank, World, Began, Plan, Reported) = (0, -1, 0, null, null, null);
}

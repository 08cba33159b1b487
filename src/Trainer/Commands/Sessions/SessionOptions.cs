namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>Times of a trainer's session with the silo; every wait has one.</summary>
public sealed record SessionOptions
{
    /// <summary>Between heartbeats. Default 500 ms, a quarter of the silo's patience.</summary>
    public TimeSpan HeartbeatEvery { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Between reports of applied steps; steps in between are told by the newest. Default 100 ms.</summary>
    public TimeSpan ReportEvery { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>After so much silence the stream counts as broken, and a new one is opened. Default 10 s.</summary>
    public TimeSpan SilencePatience { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long the silo may be away, while training goes on, before this trainer gives up. Default 5 minutes.</summary>
    public TimeSpan SiloPatience { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>The wait before the first attempt to open a new stream; it doubles with each. Default 100 ms.</summary>
    public TimeSpan FirstBackoff { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>The longest wait between attempts. Default 1 s: a restarted silo waits for its trainers, but not for long.</summary>
    public TimeSpan LongestBackoff { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long a last word may take to be sent while the silo is there. Default 5 s.</summary>
    public TimeSpan LeavePatience { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a trainer that was asked to end (SIGTERM) may take. Default 25 s: spot nodes give 30.</summary>
    public TimeSpan DrainGrace { get; init; } = TimeSpan.FromSeconds(25);

    /// <summary>How long a generation's streams may take to stand. Default 8 s.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(8);
}

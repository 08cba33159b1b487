namespace DarkMatter.Grains;

/// <summary>One trainer as the roster knows it.</summary>
public sealed record RosterMember
{
    /// <summary>Unique in the run.</summary>
    public required string Name { get; init; }

    /// <summary>Of its process.</summary>
    public required string Incarnation { get; init; }

    /// <summary>Of its stream to a silo; empty while it is away.</summary>
    public string Session { get; init; } = "";

    /// <summary>Where its peers reach it.</summary>
    public string Address { get; init; } = "";

    /// <summary>Of its process, for people.</summary>
    public int ProcessId { get; init; }

    /// <summary>Place in the newest generation; −1 for none: it is a spare.</summary>
    public int Rank { get; init; } = -1;

    /// <summary>What its session is doing.</summary>
    public Presence Presence { get; init; }

    /// <summary>Its own words, when it left or failed.</summary>
    public string Reason { get; init; } = "";

    /// <summary>It failed as anybody would: the run ends.</summary>
    public bool RunFailed { get; init; }

    /// <summary>When its last message came; of one that is away, when the silo was restarted.</summary>
    public TimeSpan LastHeard { get; init; }

    /// <summary>Last step it applied in the newest generation, or that a spare holds.</summary>
    public long Step { get; init; }

    /// <summary>Updates applied in its memory, whatever generation made them, as it said last; −1 when it holds no state.</summary>
    public long Held { get; init; } = -1;

    /// <summary>Grows while its generation prepares itself.</summary>
    public long Progress { get; init; }

    /// <summary>It can take a place.</summary>
    public bool Prepared { get; init; }

    /// <summary>Since when.</summary>
    public TimeSpan PreparedAt { get; init; }

    /// <summary>It was asked to end, and waits for the others to go on without it.</summary>
    public bool Draining { get; init; }

    /// <summary>It drains outside a generation, and so without a checkpoint of its own: what only it holds is saved before it is released.</summary>
    public bool SavesFirst { get; init; }

    /// <summary>The first peer it could not go on with in the newest generation; null for none.</summary>
    public Accusation? Accuses { get; init; }

    /// <summary>When it first accused somebody.</summary>
    public TimeSpan AccusedAt { get; init; }

    /// <summary>It has a place in the newest generation.</summary>
    public bool Seated => Rank >= 0;

    /// <summary>The same process: a trainer that was started again is another one.</summary>
    public bool Is(RosterMember other) => Name == other.Name && Incarnation == other.Incarnation;

    /// <summary>Nothing was heard from it for too long.</summary>
    public bool IsSilent(TimeSpan now, RosterOptions options) => now - LastHeard >= options.FailureTimeout;

    /// <summary>It has a place and cannot go on: its session broke, it failed or left, it went silent, or it did not come back.</summary>
    public bool IsLost(TimeSpan now, RosterOptions options) => Presence switch
    {
        Presence.Connected => IsSilent(now, options),
        Presence.Away => now - LastHeard >= options.ReturnTimeout,
        Presence.Completed => false,
        _ => true,
    };
}

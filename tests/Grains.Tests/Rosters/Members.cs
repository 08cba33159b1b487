namespace DarkMatter.Grains.Tests;

/// <summary>Members and moments that the roster's tests begin from.</summary>
internal static class Members
{
    public static readonly RosterOptions Options = new();

    public static TimeSpan S(double seconds) => TimeSpan.FromSeconds(seconds);

    /// <summary>trainer-i, which has rank i, is prepared, and was heard at 100 s.</summary>
    public static RosterMember Seated(int i, Presence presence = Presence.Connected, double heard = 100, long step = 57) => new()
    {
        Name = $"trainer-{i}",
        Incarnation = $"i{i}",
        Session = $"s{i}",
        Address = $"http://127.0.0.1:{5000 + i}",
        ProcessId = 1000 + i,
        Rank = i,
        Presence = presence,
        LastHeard = S(heard),
        Step = step,
        Prepared = true,
    };

    /// <summary>trainer-i without a place, prepared since a moment.</summary>
    public static RosterMember Spare(int i, double preparedAt = 50, Presence presence = Presence.Connected, double heard = 100) =>
        Seated(i, presence, heard, step: 0) with { Rank = -1, PreparedAt = S(preparedAt) };

    public static RosterMember Accusing(this RosterMember member, int rank, string reason = "connection reset", double at = 99, bool differs = false) =>
        member with { Accuses = new Accusation { Rank = rank, Reason = reason, StateDiffers = differs }, AccusedAt = S(at) };

    /// <summary>Generation 1 began at step 50 with the seated ones among the members.</summary>
    public static RosterMembers Training(params RosterMember[] members) => new()
    {
        World = Math.Max(1, members.Count(m => m.Seated)),
        MaxWorld = 8,
        Generation = 1,
        State = RunState.Training,
        Formed = true,
        Began = true,
        StartStep = 50,
        All = [.. members],
    };

    /// <summary>A run created at 10 s, after four generations of earlier lives.</summary>
    public static RosterMembers Waiting(int world, params RosterMember[] members) =>
        new() { World = world, MaxWorld = 8, Generation = 4, OpenedAt = S(10), All = [.. members] };

    public static RosterDecision Decide(RosterMembers members, double now = 100) => Roster.Decide(S(now), members, Options);

    public static string Names(this RosterDecision decision) => string.Join(' ', decision.Next.Select(m => $"{m.Name[8..]}@{m.Rank}"));
}

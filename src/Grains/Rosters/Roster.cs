using System.Collections.Immutable;
using System.Globalization;

namespace DarkMatter.Grains;

/// <summary>One trainer as the roster knows it.</summary>
public sealed record RosterMember
{
    /// <summary>Unique in the run.</summary>
    public required string Name { get; init; }

    /// <summary>Of its process.</summary>
    public required string Incarnation { get; init; }

    /// <summary>Where its peers reach it.</summary>
    public string Address { get; init; } = "";

    /// <summary>Of its process, for people.</summary>
    public int ProcessId { get; init; }

    /// <summary>Place in the generation; −1 before it began.</summary>
    public int Rank { get; init; } = -1;

    /// <summary>What its session is doing.</summary>
    public Presence Presence { get; init; }

    /// <summary>Its own words, when it left or failed.</summary>
    public string Reason { get; init; } = "";

    /// <summary>When its last message came.</summary>
    public TimeSpan LastHeard { get; init; }

    /// <summary>Last step it applied.</summary>
    public long Step { get; init; }

    /// <summary>The first peer it could not reach; null for none.</summary>
    public Accusation? Accuses { get; init; }

    /// <summary>When it first accused somebody.</summary>
    public TimeSpan AccusedAt { get; init; }
}

/// <summary>Everything a decision looks at besides the time and the options.</summary>
public sealed record RosterMembers
{
    /// <summary>Trainers wanted.</summary>
    public required int World { get; init; }

    /// <summary>Newest generation that began; 0 for none.</summary>
    public long Generation { get; init; }

    /// <summary>The generation has begun and its trainers train; before that they are waited for.</summary>
    public bool Training { get; init; }

    /// <summary>When waiting began.</summary>
    public TimeSpan OpenedAt { get; init; }

    /// <summary>When somebody asked it to stop; null when nobody did.</summary>
    public TimeSpan? StopRequestedAt { get; init; }

    /// <summary>Why it is to stop.</summary>
    public string StopReason { get; init; } = "";

    /// <summary>A difference between ranks that the state hashes show; empty for none.</summary>
    public string Divergence { get; init; } = "";

    /// <summary>The trainers.</summary>
    public ImmutableArray<RosterMember> All { get; init; } = [];
}

/// <summary>What is to be done.</summary>
/// <param name="State">The run's next state: Waiting and Training mean no change, except that Training begins a generation.</param>
/// <param name="Reason">Why, for people.</param>
/// <param name="Next">The next generation's members in rank order, when one is to begin.</param>
public sealed record RosterDecision(RunState State, string Reason, ImmutableArray<RosterMember> Next)
{
    /// <summary>A generation is to begin.</summary>
    public bool Begins => !Next.IsEmpty;
}

/// <summary>
/// Decides membership from (now, members, options): no clock, no network. Membership is fixed: the run waits for the wanted world, and the
/// loss of one trainer ends it. <c>RosterGrain</c> hosts it.
/// </summary>
public static class Roster
{
    /// <summary>The next generation, or the run's end, and why.</summary>
    public static RosterDecision Decide(TimeSpan now, RosterMembers members, RosterOptions options) =>
        members.Training ? WhileTraining(now, members, options) : WhileWaiting(now, members, options);

    /// <summary>Whether a trainer may join; null when it may.</summary>
    public static JoinAnswer? Refuse(string run, RosterMembers members, JoinRequest join, string recipeDigest)
    {
        if (string.IsNullOrWhiteSpace(join.Name) || string.IsNullOrWhiteSpace(join.Incarnation) || string.IsNullOrWhiteSpace(join.Address))
        {
            return No(Refusal.InvalidArgument, "a trainer joins with a name, an incarnation and an address; one of them is empty");
        }

        if (join.RecipeDigest.Length > 0 && join.RecipeDigest != recipeDigest)
        {
            return No(
                Refusal.FailedPrecondition,
                $"{join.Name} has another recipe than run '{run}': start all its trainers with the recipe the run was created with");
        }

        var same = members.All.FirstOrDefault(m => m.Name == join.Name);
        if (same is not null && (members.Training || same.Presence == Presence.Connected))
        {
            return No(
                Refusal.AlreadyExists,
                $"run '{run}' has a trainer {join.Name} already (pid {same.ProcessId} at {same.Address}): give each trainer its own name");
        }

        if (members.Training || (same is null && members.All.Count(m => m.Presence == Presence.Connected) >= members.World))
        {
            return No(
                Refusal.FailedPrecondition,
                $"run '{run}' has its {members.World} trainers already; {join.Name} cannot join it now");
        }

        return null;

        static JoinAnswer No(Refusal refusal, string message) => new() { Refusal = refusal, Message = message };
    }

    /// <summary>trainer-2 before trainer-10: by the text before a trailing number, then by the number.</summary>
    public static int CompareNames(string a, string b)
    {
        int prefixA = a.Length - TrailingDigits(a);
        int prefixB = b.Length - TrailingDigits(b);
        int byText = string.CompareOrdinal(a[..prefixA], b[..prefixB]);
        if (byText != 0)
        {
            return byText;
        }

        string digitsA = a[prefixA..].TrimStart('0');
        string digitsB = b[prefixB..].TrimStart('0');
        int byLength = digitsA.Length.CompareTo(digitsB.Length);
        int byNumber = byLength != 0 ? byLength : string.CompareOrdinal(digitsA, digitsB);
        return byNumber != 0 ? byNumber : string.CompareOrdinal(a, b);
    }

    private static RosterDecision WhileWaiting(TimeSpan now, RosterMembers members, RosterOptions options)
    {
        if (members.StopRequestedAt is not null)
        {
            return End(RunState.Stopped, $"{members.StopReason}; its trainers had not begun.");
        }

        if (members.All.FirstOrDefault(m => m.Presence == Presence.Failed) is { } failed)
        {
            return End(RunState.Failed, $"{Who(failed)} failed before training began: {Sentence(failed.Reason)}");
        }

        var ready = members.All.Where(m => m.Presence == Presence.Connected).ToImmutableArray();
        if (ready.Length >= members.World)
        {
            var ranked = ready.Sort((a, b) => CompareNames(a.Name, b.Name));
            var seated = ranked.Select((m, rank) => m with { Rank = rank }).ToImmutableArray();
            return new(
                RunState.Training,
                $"generation {members.Generation + 1}: all {members.World} trainers joined ({string.Join(", ", seated.Select(m => m.Name))})",
                seated);
        }

        if (now - members.OpenedAt >= options.JoinTimeout)
        {
            string joined = ready.IsEmpty ? "none" : string.Join(", ", ready.Select(m => m.Name));
            string gone = string.Concat(members.All.Where(m => m.Presence != Presence.Connected)
                .Select(m => $" {Who(m)} had joined and was lost again."));
            return End(
                RunState.Failed,
                $"only {ready.Length} of {members.World} trainers joined within {Seconds(options.JoinTimeout)} (joined: {joined}).{gone} "
                + "Look at the output of the missing ones.");
        }

        return Stay(RunState.Waiting);
    }

    private static RosterDecision WhileTraining(TimeSpan now, RosterMembers members, RosterOptions options)
    {
        var all = members.All;
        if (members.Divergence.Length > 0)
        {
            return End(RunState.Failed, members.Divergence);
        }

        if (all.All(m => m.Presence == Presence.Completed))
        {
            return End(RunState.Completed, $"all {all.Length} trainers completed step {all.Min(m => m.Step)}.");
        }

        bool stopping = members.StopRequestedAt is not null;
        if (stopping && all.All(m => m.Presence != Presence.Connected))
        {
            return End(RunState.Stopped, $"{Capital(members.StopReason)} at step {all.Min(m => m.Step)}.");
        }

        if (stopping && now - members.StopRequestedAt!.Value >= options.StopTimeout)
        {
            var late = all.Where(m => m.Presence == Presence.Connected);
            return End(
                RunState.Stopped,
                $"{Capital(members.StopReason)}; {string.Join(", ", late.Select(Who))} had not stopped after {Seconds(options.StopTimeout)}.");
        }

        if (all.All(m => m.Presence is Presence.Left or Presence.Completed))
        {
            var first = all.First(m => m.Presence == Presence.Left);
            return End(RunState.Stopped, $"All trainers left at step {all.Min(m => m.Step)} ({first.Name}: {first.Reason}).");
        }

        if (Culprit(now, all, options) is { } reason)
        {
            return End(RunState.Failed, reason);
        }

        return Stay(RunState.Training);
    }

    // Who a failure is pinned on: first who vanished, then who said that it failed, then who went silent, then who is accused.
    // One that accuses another is never pinned before the other had its time.
    private static string? Culprit(TimeSpan now, ImmutableArray<RosterMember> all, RosterOptions options)
    {
        bool lostContact = all.Any(m => m.Presence == Presence.Failed || m.Accuses is not null);
        if (all.FirstOrDefault(m => m.Presence == Presence.Broken && m.Accuses is null) is { } vanished)
        {
            return $"{Who(vanished)} was lost at step {vanished.Step}: its session broke without a word, as when a process is killed, crashes, "
                + "or is cut from the silo.";
        }

        if (all.FirstOrDefault(m => m.Presence == Presence.Failed && m.Accuses is null) is { } failed)
        {
            return $"{Who(failed)} failed at step {failed.Step}: {Sentence(failed.Reason)}";
        }

        if (all.FirstOrDefault(m => m.Presence == Presence.Connected && now - m.LastHeard >= options.FailureTimeout) is { } silent)
        {
            return $"{Who(silent)} was lost at step {silent.Step}: nothing was heard from it for {Seconds(now - silent.LastHeard)}, "
                + $"longer than {Seconds(options.FailureTimeout)}. It hangs, or is cut from the silo.";
        }

        if (all.FirstOrDefault(m => m.Presence == Presence.Left) is { } left && lostContact)
        {
            return $"{Who(left)} left at step {left.Step} while others still trained: {Sentence(left.Reason)}";
        }

        var accuser = all.Where(m => m.Accuses is not null).MinBy(m => m.AccusedAt);
        if (accuser is null || now - accuser.AccusedAt < options.AccusationGrace)
        {
            return null;
        }

        var accused = all.FirstOrDefault(m => m.Rank == accuser.Accuses!.Rank);
        return accused is null
            ? $"{Who(accuser)} failed at step {accuser.Step}: {Sentence(accuser.Accuses!.Reason)}"
            : $"{Who(accused)} could not be reached by {Who(accuser)} at step {accuser.Step}: {Sentence(accuser.Accuses!.Reason)} "
              + "Both still answered the silo: the connection between them is cut, or one of them hangs.";
    }

    private static RosterDecision Stay(RunState state) => new(state, "", []);

    private static RosterDecision End(RunState state, string reason) => new(state, reason, []);

    private static string Who(RosterMember m) => m.Rank < 0 ? $"{m.Name} (pid {m.ProcessId})" : $"{m.Name} (rank {m.Rank}, pid {m.ProcessId})";

    private static string Seconds(TimeSpan span) => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.#} s");

    private static string Sentence(string text)
    {
        string trimmed = text.Trim();
        return trimmed.Length == 0 ? "it gave no reason." : trimmed[^1] is '.' or '!' or '?' ? trimmed : trimmed + ".";
    }

    private static string Capital(string text) => text.Length == 0 ? "Stopped on request" : char.ToUpperInvariant(text[0]) + text[1..];

    private static int TrailingDigits(string text)
    {
        int count = 0;
        while (count < text.Length && char.IsAsciiDigit(text[^(count + 1)]))
        {
            count++;
        }

        return count;
    }
}

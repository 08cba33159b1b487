using System.Collections.Immutable;

namespace DarkMatter.Grains;

/// <summary>
/// Decides membership from (now, members, options): no clock, no network. Trainers come and go at any time:
/// <list type="bullet">
/// <item>who is lost, or cannot be reached by the others, is missing from the next generation, which begins at once;</item>
/// <item>who is ready to join, or drains, changes the next generation, which begins at a step boundary;</item>
/// <item>with fewer trainers than the least world the run waits, its state in the memory of those that are left.</item>
/// </list>
/// <c>RosterGrain</c> hosts it.
/// </summary>
public static partial class Roster
{
    /// <summary>Newcomers wait for each other at most this many settle times.</summary>
    private const int MostSettleTimes = 10;

    /// <summary>A spare may be silent this many times longer than a member that trains: others do not wait for it.</summary>
    private const int SparePatience = 10;

    /// <summary>The most patience of a stop with a generation that has not begun: its trainers may have stopped before they heard of it, and it writes nothing.</summary>
    private static readonly TimeSpan s_unbegunStop = TimeSpan.FromMinutes(5);

    /// <summary>The next generation, state or end of the run, and why.</summary>
    public static RosterDecision Decide(TimeSpan now, RosterMembers members, RosterOptions options)
    {
        var decision = members.State == RunState.Training
            ? WhileTraining(now, members, options)
            : WhileWaiting(now, members, options);
        bool changes = decision.Begins || decision.State != members.State;
        var gone = members.All.Where(m => !Keeps(m, now, members, options, changes) && !decision.Lost.Any(m.Is));
        return decision with { Lost = [.. decision.Lost, .. gone] };
    }

    private static RosterDecision WhileWaiting(TimeSpan now, RosterMembers members, RosterOptions options)
    {
        if (members.StopRequestedAt is not null)
        {
            return StopWaiting(now, members, options);
        }

        if (members.All.FirstOrDefault(m => m.RunFailed) is { } failed)
        {
            return End(RunState.Failed, $"{RosterText.Who(failed)} failed: {RosterText.Sentence(failed.Reason)}");
        }

        if (members.Endangered(now, options))
        {
            return Save(now, members, options, "its last trainers drain");
        }

        if (members.PauseReason is { } pause)
        {
            return members.State == RunState.Paused ? Stay(members) : new(RunState.Paused, pause, []);
        }

        var ready = Candidates(now, members, options);
        int wanted = members.Formed || now - members.OpenedAt >= options.JoinTimeout ? members.LeastWorld : members.World;
        if (ready.Length < wanted || now < members.NotBefore || (ready.Length < members.World && !Settled(now, ready, options)))
        {
            return members.State == RunState.Paused
                ? new(RunState.Waiting, Waits(members, ready.Length, wanted, "It is paused no longer."), [])
                : Stay(members);
        }

        string why = members.Formed
            ? RosterText.GoOn(ready.Length)
            : ready.Length >= members.World
                ? $"all {members.World} trainers joined"
                : $"{ready.Length} of {members.World} wanted trainers joined within {RosterText.Seconds(options.JoinTimeout)}";
        return Form(members, ready, why) with { AtOnce = members.State == RunState.Waiting };
    }

    private static RosterDecision WhileTraining(TimeSpan now, RosterMembers members, RosterOptions options)
    {
        var seated = members.Seated.ToImmutableArray();
        if (members.All.FirstOrDefault(m => m.RunFailed) is { } failed)
        {
            return End(RunState.Failed, $"{RosterText.Who(failed)} failed at step {failed.Step}: {RosterText.Sentence(failed.Reason)}");
        }

        if (Ended(now, members, seated, options) is { } end)
        {
            return end;
        }

        if (members.Saving)
        {
            return WhileSaving(now, members, seated, options);
        }

        var lost = seated.Where(m => m.IsLost(now, options)).Concat(members.Replaced).ToImmutableArray();
        bool finish = members.StopRequestedAt is not null && seated.Any(m => m.Presence == Presence.Left)
            && seated.Any(m => !m.IsLost(now, options) && m.Accuses is null);
        if (members.FinalCheckpoint || finish)
        {
            return Stay(members); // The others finish too, or are lost: nobody trains any more. Who left the generation without an end waits with what it holds.
        }

        if (!lost.IsEmpty || seated.IsEmpty)
        {
            return Reform(now, members, options, new Verdict(string.Join(" ", lost.Select(m => RosterText.Loss(m, now, options))), null), lost);
        }

        if (members.PauseReason is { } pause && members.StopRequestedAt is null)
        {
            return new(RunState.Paused, pause, []);
        }

        if (Accusations.Judge(now, members, options) is { } verdict)
        {
            return Reform(now, members, options, verdict, []);
        }

        return members.StopRequestedAt is null && !seated.Any(m => m.Presence != Presence.Connected)
            ? Change(now, members, seated, options)
            : Stay(members);
    }

    // All took every step, or all that are left stopped as they were asked to.
    private static RosterDecision? Ended(TimeSpan now, RosterMembers members, ImmutableArray<RosterMember> seated, RosterOptions options)
    {
        // One that could not begin with those that had finished already has nothing left to do either.
        bool nobody = seated.All(m => m.Presence == Presence.Completed || m.IsLost(now, options) || (members.FinalCheckpoint && m.Accuses is not null));
        if (nobody && (members.FinalCheckpoint || seated.All(m => m.Presence == Presence.Completed)) && !seated.IsEmpty)
        {
            return End(RunState.Completed, $"all {RosterText.Trainers(seated.Length)} completed step {seated.Max(m => m.Step)}.");
        }

        if (members.StopRequestedAt is not { } since)
        {
            return null;
        }

        string stopped = RosterText.Capital(members.StopReason);
        if (nobody)
        {
            return End(RunState.Stopped, seated.IsEmpty ? $"{stopped}." : $"{stopped} at step {seated.Min(m => m.Step)}.{(members.Saving ? RosterText.Unsaved(members) : "")}");
        }

        var late = seated.Where(m => m.Presence is Presence.Connected or Presence.Away);
        var patience = members.Began || members.Saving || options.StopTimeout < s_unbegunStop ? options.StopTimeout : s_unbegunStop;
        return now - since >= patience
            ? End(RunState.Stopped, $"{stopped}; {string.Join(", ", late.Select(RosterText.Who))} had not stopped after {RosterText.Seconds(patience)}.")
            : null;
    }

    // The generation is broken: the next one begins at once, without whom it broke on.
    private static RosterDecision Reform(
        TimeSpan now, RosterMembers members, RosterOptions options, Verdict verdict, ImmutableArray<RosterMember> lost)
    {
        int fruitless = members.Progressed ? 0 : members.Fruitless + 1;
        if (fruitless >= options.FruitlessGenerations && members.StopRequestedAt is null)
        {
            return End(
                RunState.Failed,
                $"the run makes no progress: {fruitless} generations in a row broke before a step. {string.Join(" ", members.Troubles.Add(verdict.Reason))}");
        }

        var next = Candidates(now, members, options, verdict.Benched);
        var rest = options.PauseAfter(fruitless);
        var change = members.PauseReason is { } pause
            ? new(RunState.Paused, $"{pause} ({verdict.Reason})", [])
            : members.StopRequestedAt is not null
                ? new(RunState.Waiting, $"stops: {verdict.Reason}", []) // Its trainers have stopped already; what they hold is saved.
                : next.Length < members.LeastWorld
                    ? Hold(members, next.Length, verdict.Reason)
                    : rest > TimeSpan.Zero
                        ? new(RunState.Waiting, $"tries again in {RosterText.Seconds(rest)}, for {fruitless} generations in a row broke before a step: {verdict.Reason}", [])
                        : Form(members, next, $"{verdict.Reason} {Who(members, next)}");
        return change with
        {
            AtOnce = true,
            Lost = lost,
            Benched = verdict.Benched,
            Again = lost.IsEmpty && verdict.Benched is null,
            Suspect = verdict.Suspect,
            Notice = verdict.Reason,
        };
    }

    // The generation is well: at a step boundary it changes for those that drain and those that are ready to join.
    private static RosterDecision Change(TimeSpan now, RosterMembers members, ImmutableArray<RosterMember> seated, RosterOptions options)
    {
        var draining = seated.Where(m => m.Draining).ToImmutableArray();
        var next = Candidates(now, members, options);
        if (!draining.IsEmpty)
        {
            string why = RosterText.Drain(draining);
            return next.Length < members.LeastWorld
                ? Hold(members, next.Length, why)
                : Form(members, next, $"{why} {Who(members, next)}") with { Notice = why };
        }

        var newcomers = next.Where(m => !m.Seated).ToImmutableArray();
        return newcomers.IsEmpty || !members.Began || !Settled(now, newcomers, options)
            ? Stay(members)
            : Form(members, next, RosterText.Join(newcomers));
    }

    /// <summary>
    /// Who can have a place in the next generation, in rank order: those that have one now, then spares by name. Without the benched; but where the
    /// run would have to wait for more trainers they are called back after the shortest time, those first whose own is nearly over.
    /// </summary>
    private static ImmutableArray<RosterMember> Candidates(
        TimeSpan now, RosterMembers members, RosterOptions options, RosterMember? benched = null)
    {
        var able = members.All
            .Where(m => IsReady(m, now, options) && !m.Draining && (benched is null || !m.Is(benched)))
            .ToLookup(m => members.IsBenched(m, now));
        var called = able[true]
            .Where(m => members.Benches[m.Name] is var bench && now >= bench.Since(options) + options.BenchTime)
            .OrderBy(m => members.Benches[m.Name].Until)
            .Take(Math.Max(0, members.LeastWorld - able[false].Count()));
        return [.. able[false].Concat(called).Order(Comparer<RosterMember>.Create(ByRankThenName)).Take(members.MaxWorld)];
    }

    private static bool IsReady(RosterMember m, TimeSpan now, RosterOptions options) =>
        m.Prepared && m.Presence == Presence.Connected && !m.IsSilent(now, options);

    private static int ByRankThenName(RosterMember a, RosterMember b) => (a.Seated, b.Seated) switch
    {
        (true, true) => a.Rank.CompareTo(b.Rank),
        (false, false) => TrainerNames.Compare(a.Name, b.Name),
        _ => a.Seated ? -1 : 1,
    };

    // The newest has waited for others, or the oldest long enough.
    private static bool Settled(TimeSpan now, ImmutableArray<RosterMember> ready, RosterOptions options)
    {
        var since = ready.Where(m => !m.Seated).Select(m => m.PreparedAt).DefaultIfEmpty(TimeSpan.MinValue).ToArray();
        return since.Max() <= now - options.SettleTime || since.Min() <= now - (options.SettleTime * MostSettleTimes);
    }

    // A seated member stays until its loss is dealt with; a spare goes when its session does.
    private static bool Keeps(RosterMember m, TimeSpan now, RosterMembers members, RosterOptions options, bool changes) =>
        members.State == RunState.Training && m.Seated
            ? !changes || !m.IsLost(now, options)
            : m.Presence switch
            {
                Presence.Connected => now - m.LastHeard < options.FailureTimeout * SparePatience,
                Presence.Away => !m.IsLost(now, options),
                _ => false,
            };

    private static RosterDecision Form(RosterMembers members, ImmutableArray<RosterMember> next, string why) => new(
        RunState.Training,
        $"generation {members.Generation + 1}: {why} ({RosterText.Names(next)})",
        [.. next.Select((m, rank) => m with { Rank = rank })]);

    private static RosterDecision Hold(RosterMembers members, int ready, string why) =>
        new(RunState.Waiting, Waits(members, ready, members.LeastWorld, why), []) { Notice = why };

    private static string Waits(RosterMembers members, int ready, int wanted, string why)
    {
        string reason = $"waits for {wanted - ready} more {(wanted - ready == 1 ? "trainer" : "trainers")} ({ready} of {wanted} ready)";
        return members.State == RunState.Paused ? $"{reason}. {why}" : $"{reason}: {why}";
    }

    private static string Who(RosterMembers members, ImmutableArray<RosterMember> next)
    {
        var newcomers = next.Where(m => !m.Seated).ToImmutableArray();
        string stay = RosterText.GoOn(next.Length - newcomers.Length);
        return newcomers.IsEmpty ? stay : $"{stay}, {RosterText.Join(newcomers)}";
    }

    private static RosterDecision Stay(RosterMembers members) => new(members.State, "", []);

    private static RosterDecision End(RunState state, string reason) => new(state, reason, []);
}

using System.Collections.Immutable;

namespace DarkMatter.Grains;

// A run that waits keeps its state in the memory of its trainers. Before the last of them go they form one more generation, however few they are: it
// agrees on the newest state, takes a checkpoint and trains nothing.
public static partial class Roster
{
    // Trainers that wait are asked to stop: what only they hold is saved first, if they manage to in time.
    private static RosterDecision StopWaiting(TimeSpan now, RosterMembers members, RosterOptions options)
    {
        string stopped = RosterText.Capital(members.StopReason);
        var holders = members.Holders.ToImmutableArray();
        return holders.IsEmpty
            ? End(RunState.Stopped, $"{stopped}; its trainers waited.{RosterText.Unsaved(members)}")
            : now - members.StopRequestedAt!.Value < options.StopTimeout
                ? Save(now, members, options, "it stops while its trainers wait")
                : End(
                    RunState.Stopped,
                    $"{stopped}; {RosterText.Names(holders)} could not save the steps after step {members.SavedStep} within {RosterText.Seconds(options.StopTimeout)}.");
    }

    // Once all that hold something can take part, or are gone: any of them may have the newest state.
    private static RosterDecision Save(TimeSpan now, RosterMembers members, RosterOptions options, string why)
    {
        var holders = members.Holders.Where(m => !m.IsLost(now, options)).ToImmutableArray();
        if (holders.IsEmpty || now < members.NotBefore || holders.Any(m => !IsReady(m, now, options)))
        {
            return Stay(members);
        }

        var apart = holders.Where(m => !members.IsBenched(m, now)).ToImmutableArray();
        var next = (apart.IsEmpty ? holders : apart).Sort(ByRankThenName);
        return Form(members, [.. next.Take(members.MaxWorld)], $"a last checkpoint, for {why}") with { AtOnce = true, Saving = true };
    }

    private static RosterDecision WhileSaving(TimeSpan now, RosterMembers members, ImmutableArray<RosterMember> seated, RosterOptions options)
    {
        var waits = new RosterDecision(members.PauseReason is null ? RunState.Waiting : RunState.Paused, "", []);
        if (members.Began && members.SavedStep >= members.StartStep)
        {
            return members.StopRequestedAt is null
                ? waits with { Reason = members.PauseReason ?? Waits(members, 0, members.MinWorld, $"step {members.SavedStep} is saved.") }
                : End(RunState.Stopped, $"{RosterText.Capital(members.StopReason)} at step {members.SavedStep}.");
        }

        var lost = seated.Where(m => m.IsLost(now, options)).Concat(members.Replaced).ToImmutableArray();
        var verdict = lost.IsEmpty
            ? Accusations.Judge(now, members, options)
            : new Verdict(string.Join(" ", lost.Select(m => RosterText.Loss(m, now, options))), null);
        return verdict is null ? Stay(members) : waits with
        {
            Reason = $"no last checkpoint yet: {verdict.Reason}",
            AtOnce = true,
            Lost = lost,
            Benched = verdict.Benched,
            Again = lost.IsEmpty && verdict.Benched is null,
            Suspect = verdict.Suspect,
            Notice = verdict.Reason,
        };
    }
}

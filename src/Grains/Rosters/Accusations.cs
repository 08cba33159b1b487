using System.Collections.Immutable;

namespace DarkMatter.Grains;

/// <summary>What follows when trainers say that they cannot go on with each other, while all of them still answer the silo.</summary>
/// <param name="Reason">For people.</param>
/// <param name="Benched">The member that gets no place for a while; null when the same trainers are to try again.</param>
/// <param name="Suspect">The name of the accused, when the same trainers try again; empty when it is not known.</param>
public sealed record Verdict(string Reason, RosterMember? Benched, string Suspect = "");

/// <summary>
/// Judges accusations. A trainer whose state differs heals with the others. Of two that do not reach each other one is benched: the one with most
/// accusers, of equals the higher rank. Where nobody can be named all try again; but not for ever.
/// </summary>
public static class Accusations
{
    /// <summary>The verdict; null while there is nothing to judge, or the accused may still show who is at fault.</summary>
    public static Verdict? Judge(TimeSpan now, RosterMembers members, RosterOptions options)
    {
        var seated = members.Seated.ToImmutableArray();
        if (members.Divergence.Length > 0)
        {
            return Again(members, options, seated, null, members.Divergence);
        }

        var accusers = seated.Where(m => m.Accuses is not null).OrderBy(m => m.AccusedAt).ToImmutableArray();
        if (accusers.FirstOrDefault(m => m.Accuses!.StateDiffers) is { } witness)
        {
            var other = seated.FirstOrDefault(m => m.Rank == witness.Accuses!.Rank);
            string who = other is null ? "A trainer" : RosterText.Who(other);
            return Again(members, options, seated, other, $"{who} has another state than the others: {RosterText.Sentence(witness.Accuses!.Reason)}");
        }

        if (accusers.IsEmpty && !members.Began && now - members.FormedAt >= options.BeginTimeout)
        {
            return Again(
                members, options, seated, null,
                $"Generation {members.Generation} had not begun after {RosterText.Seconds(options.BeginTimeout)} without progress, and none of its trainers says why.");
        }

        if (accusers.IsEmpty || now - accusers[0].AccusedAt < options.AccusationGrace)
        {
            return null;
        }

        var accused = seated
            .Select(m => (Member: m, By: accusers.Where(a => a.Accuses!.Rank == m.Rank && a.Rank != m.Rank).ToImmutableArray()))
            .Where(m => !m.By.IsEmpty)
            .OrderByDescending(m => m.By.Length).ThenByDescending(m => m.Member.Rank)
            .ToImmutableArray();
        if (accused.IsEmpty)
        {
            return Again(
                members, options, seated, null,
                $"{RosterText.Who(accusers[0])} could not go on at step {accusers[0].Step}: {RosterText.Sentence(accusers[0].Accuses!.Reason)}");
        }

        var (worst, by) = accused[0];
        return new Verdict(
            $"{RosterText.Who(worst)} could not be reached by {string.Join(", ", by.Select(RosterText.Who))} at step {worst.Step}: "
            + $"{RosterText.Sentence(by[0].Accuses!.Reason)} Both still answer the silo: the connection between them is cut, or one of them hangs.",
            worst);
    }

    // The same trainers again, up to the limit; then without the one last accused, or, where nobody was, without the last rank.
    private static Verdict Again(
        RosterMembers members, RosterOptions options, ImmutableArray<RosterMember> seated, RosterMember? accused, string reason)
    {
        int before = members.Progressed ? 0 : members.SameAgain;
        if (before < options.SameTrainersAgain || seated.Length < 2)
        {
            return new Verdict(reason, null, accused?.Name ?? "");
        }

        var suspect = accused ?? seated.FirstOrDefault(m => m.Name == members.Suspect) ?? seated[^1];
        return new Verdict($"{reason} The same trainers tried {before} times without a step; now without {RosterText.Who(suspect)}.", suspect);
    }
}

using System.Globalization;

namespace DarkMatter.Grains;

/// <summary>How decisions speak of members and times.</summary>
internal static class RosterText
{
    public static string Who(RosterMember m) => m.Rank < 0 ? $"{m.Name} (pid {m.ProcessId})" : $"{m.Name} (rank {m.Rank}, pid {m.ProcessId})";

    public static string Names(IEnumerable<RosterMember> members) => string.Join(", ", members.Select(m => m.Name));

    public static string Trainers(int count) => count == 1 ? "1 trainer" : $"{count} trainers";

    public static string GoOn(int count) => $"{Trainers(count)} {(count == 1 ? "goes" : "go")} on";

    public static string Join(IReadOnlyCollection<RosterMember> members) => $"{Names(members)} {(members.Count == 1 ? "joins" : "join")}";

    public static string Drain(IReadOnlyCollection<RosterMember> members) => $"{Names(members)} {(members.Count == 1 ? "drains" : "drain")}.";

    public static string Seconds(TimeSpan span) => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.#} s");

    /// <summary>A text as a sentence with its full stop.</summary>
    public static string Sentence(string text)
    {
        string trimmed = text.Trim();
        return trimmed.Length == 0 ? "it gave no reason." : trimmed[^1] is '.' or '!' or '?' ? trimmed : trimmed + ".";
    }

    public static string Capital(string text) => text.Length == 0 ? "Stopped on request" : char.ToUpperInvariant(text[0]) + text[1..];

    /// <summary>The steps that nobody has any more, as a sentence after another; empty when there are none.</summary>
    public static string Unsaved(RosterMembers members)
    {
        (long first, long last) = (members.SavedStep + 1, members.Reached);
        string steps = first == last ? $"Step {last} was" : $"Steps {first} to {last} were";
        string newest = members.SavedStep > 0 ? $"the newest checkpoint is of step {members.SavedStep}" : "there is no checkpoint";
        return last < first ? "" : $" {steps} only in memory and {(first == last ? "is" : "are")} lost: {newest}.";
    }

    /// <summary>How a member was lost, as a sentence.</summary>
    public static string Loss(RosterMember m, TimeSpan now, RosterOptions options) => m.Presence switch
    {
        Presence.Failed => $"{Who(m)} failed at step {m.Step}: {Sentence(m.Reason)}",
        Presence.Left => $"{Who(m)} left at step {m.Step}: {Sentence(m.Reason)}",
        Presence.Away => $"{Who(m)} did not come back within {Seconds(options.ReturnTimeout)} of the silo's restart.",
        Presence.Connected => $"{Who(m)} was lost at step {m.Step}: nothing was heard from it for {Seconds(now - m.LastHeard)}, "
            + $"longer than {Seconds(options.FailureTimeout)}. It hangs, or is cut from the silo.",
        _ => $"{Who(m)} was lost at step {m.Step}: its session broke without a word, as when a process is killed, crashes, or is cut from the silo.",
    };
}

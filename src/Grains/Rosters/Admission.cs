namespace DarkMatter.Grains;

/// <summary>Decides who may join a run.</summary>
public static class Admission
{
    /// <summary>Trainers that one run admits, spares included.</summary>
    public const int MaxMembers = 4096;

    /// <summary>Why a trainer may not join; null when it may.</summary>
    public static JoinAnswer? Refuse(
        string run, TimeSpan now, RosterMembers members, JoinRequest join, string recipeDigest, RosterOptions options)
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
        bool itself = same is not null && same.Incarnation == join.Incarnation;
        if (join.Generation > 0 && !(itself && same!.Seated && join.Generation <= members.Generation))
        {
            return No(
                Refusal.StaleGeneration,
                $"{join.Name} comes from generation {join.Generation} of run '{run}', but has no place in generation {members.Generation}: "
                + "it leaves its generation and joins anew");
        }

        if (same is { Presence: Presence.Connected } && !itself && !same.IsSilent(now, options))
        {
            return No(
                Refusal.AlreadyExists,
                $"run '{run}' has a trainer {join.Name} already (pid {same.ProcessId} at {same.Address}): give each trainer its own name");
        }

        return same is null && members.All.Length >= MaxMembers
            ? No(Refusal.FailedPrecondition, $"run '{run}' has {MaxMembers} trainers already; {join.Name} cannot join it now")
            : null;

        static JoinAnswer No(Refusal refusal, string message) => new() { Refusal = refusal, Message = message };
    }
}

namespace DarkMatter.Grains;

// The run's published checkpoints.
public static partial class Run
{
    /// <summary>Checkpoints the record remembers.</summary>
    public const int KeptCheckpoints = 64;

    /// <summary>
    /// Notes a published checkpoint, or says why not. One that was taken in an earlier generation counts while the run's steps lead through it: an
    /// upload in the background may end after the membership has changed, or after the run has stopped. It is stale once a later generation began
    /// below it, or the run was resumed.
    /// </summary>
    public static RunChange NoteCheckpoint(string name, RunRecord? run, CheckpointRecord checkpoint)
    {
        if (run is null)
        {
            return RunChange.Refuse(Refusal.NotFound, $"there is no run '{name}'");
        }

        if (!(run.IsLive || run.State == RunState.Stopped) || checkpoint.Generation > run.Generation || checkpoint.Generation <= run.EarlierGeneration)
        {
            return RunChange.Refuse(
                Refusal.StaleGeneration,
                $"the checkpoint of step {checkpoint.Step} comes from generation {checkpoint.Generation}, "
                + $"but run '{name}' is {Word(run.State)} in generation {run.Generation}");
        }

        if (run.Generations.Find(g => g.Number > checkpoint.Generation && g.Began && g.StartStep < checkpoint.Step) is { } later)
        {
            return RunChange.Refuse(
                Refusal.StaleGeneration,
                $"the checkpoint of step {checkpoint.Step} of generation {checkpoint.Generation} is no part of run '{name}' any more: "
                + $"generation {later.Number} began at step {later.StartStep}");
        }

        // Newest first. What an older generation reached beyond this step was rolled back.
        var kept = run.Checkpoints
            .RemoveAll(c => c.Step == checkpoint.Step || (c.Generation < checkpoint.Generation && c.Step > checkpoint.Step))
            .Add(checkpoint)
            .Sort((a, b) => b.Step.CompareTo(a.Step));
        var next = run with { Checkpoints = kept.Count <= KeptCheckpoints ? kept : kept.RemoveRange(KeptCheckpoints, kept.Count - KeptCheckpoints) };
        return RunChange.To(run.IsLive ? next : next with { Reason = run.Reason.Replace(HowToResume(run), HowToResume(next), StringComparison.Ordinal) });
    }
}

using System.Collections.Immutable;

namespace DarkMatter.Grains;

// The ledger: what each generation began with, and how far it came.
public static partial class Run
{
    /// <summary>Generations in the run's own record; when there are more, the older half is sealed in a record of its own.</summary>
    public const int OpenGenerations = 128;

    /// <summary>The ledger with one more generation, and its seats.</summary>
    /// <exception cref="InvalidOperationException">The run is over, or the number is not new: two generations never share one.</exception>
    public static RunRecord BeginGeneration(RunRecord run, GenerationRecord generation, ImmutableArray<Seat> seats)
    {
        if (generation.Number <= run.Generation || !run.IsLive)
        {
            throw new InvalidOperationException(
                $"Generation {generation.Number} cannot begin: the run is {Word(run.State)} in generation {run.Generation}.");
        }

        return run with
        {
            State = RunState.Training,
            Reason = generation.Reason,
            Generations = run.Generations.Add(
                generation with { CommittedStep = generation.StartStep, DigestStep = generation.StartStep, SamplesDigest = 0, Began = false }),
            Seats = seats,
            Progress = new RunProgress { Generation = generation.Number, Step = generation.StartStep, DigestStep = generation.StartStep },
        };
    }

    /// <summary>
    /// The newest generation's ranks agreed on a state. That state proves how far the generation that trained it came, also where its last reports
    /// were lost; steps above it are gone.
    /// </summary>
    public static RunRecord Began(RunRecord run, GenerationBeginning beginning, DateTimeOffset at)
    {
        if (!run.IsLive || run.Generation != beginning.Generation || run.Generations[^1].Began)
        {
            return run;
        }

        var generations = Prove(run, beginning.Lineage).Generations;
        var last = generations.FindLast(g => g.Began);
        bool goesOn = beginning.Lineage.Any(segment => segment.Generation == last?.Number);
        long lost = last is null ? 0 : last.CommittedStep - (goesOn ? beginning.StartStep : last.StartStep);
        var newest = generations[^1] with
        {
            Began = true,
            BeganAt = at,
            StartStep = beginning.StartStep,
            CommittedStep = beginning.StartStep,
            DigestStep = beginning.StartStep,
            Source = beginning.Source,
            StateHash = beginning.StateHash,
            Healed = beginning.Healed,
            Parent = beginning.Lineage.LastOrDefault(segment => segment.EndStep > segment.StartStep)?.Generation ?? 0,
        };
        return run with
        {
            Generations = generations.SetItem(generations.Count - 1, newest),
            RolledBack = run.RolledBack + Math.Max(0, lost),
            Checkpoints = run.Checkpoints.RemoveAll(c => c.Step > beginning.StartStep),
            Progress = run.Progress with { Step = beginning.StartStep, DigestStep = beginning.StartStep, SamplesDigest = 0 },
        };
    }

    /// <summary>Takes progress of the newest generation in; what is of another one or goes backwards is left out.</summary>
    public static RunRecord Report(RunRecord run, RunProgress progress)
    {
        if (!run.IsLive || progress.Generation != run.Generation || progress.Step < run.Progress.Step || SaysNothingNew(run.Progress, progress))
        {
            return run;
        }

        if (run.Generations.IsEmpty || run.Generation == run.EarlierGeneration)
        {
            return run with { Progress = progress with { Step = run.Progress.Step } };
        }

        var newest = run.Generations[^1];
        if (!newest.Began)
        {
            return run with { Progress = progress with { Step = run.Progress.Step, DigestStep = newest.DigestStep, SamplesDigest = 0 } };
        }

        bool further = progress.DigestStep > newest.DigestStep;
        return run with
        {
            Progress = progress,
            Generations = run.Generations.SetItem(
                run.Generations.Count - 1,
                newest with
                {
                    CommittedStep = progress.Step,
                    DigestStep = further ? progress.DigestStep : newest.DigestStep,
                    SamplesDigest = further ? progress.SamplesDigest : newest.SamplesDigest,
                }),
        };
    }

    /// <summary>
    /// The ledger with what a state tells of itself: which generations made its steps, and of which images. Reports that died with a trainer, or
    /// while the silo was away, are made up for; a generation that trained without anybody hearing of it has begun after all.
    /// </summary>
    public static RunRecord Prove(RunRecord run, ImmutableArray<LineageSegment> lineage)
    {
        var generations = run.Generations;
        long parent = 0;
        foreach (var segment in lineage.Where(segment => segment.EndStep > segment.StartStep))
        {
            int i = generations.FindLastIndex(g => g.Number == segment.Generation);
            if (i >= 0)
            {
                generations = generations.SetItem(i, Proven(generations[i], segment, parent));
            }

            parent = segment.Generation;
        }

        if (generations.SequenceEqual(run.Generations) || !run.IsLive)
        {
            return run;
        }

        long reached = Math.Max(run.Progress.Step, generations.FindLast(g => g.Began)?.CommittedStep ?? 0);
        return run with { Generations = generations, Progress = run.Progress with { Step = reached } };
    }

    /// <summary>The older half of a long ledger, to be stored apart, and the record without it; null while it is short.</summary>
    public static (ImmutableList<GenerationRecord> Older, RunRecord Run)? Seal(RunRecord run)
    {
        int older = OpenGenerations / 2;
        return run.Generations.Count <= OpenGenerations
            ? null
            : (run.Generations.GetRange(0, older), run with { Generations = run.Generations.RemoveRange(0, older) });
    }

    /// <summary>The whole ledger from its two parts: a kill between storing them leaves generations in both.</summary>
    public static ImmutableList<GenerationRecord> WholeLedger(ImmutableList<GenerationRecord> older, ImmutableList<GenerationRecord> open) =>
        [.. older.Where(g => open.IsEmpty || g.Number < open[0].Number), .. open];

    // A run that waits for days is not written every second.
    private static bool SaysNothingNew(RunProgress known, RunProgress progress) =>
        progress.Members.SequenceEqual(known.Members) && progress with { Members = known.Members } == known;

    private static GenerationRecord Proven(GenerationRecord generation, LineageSegment segment, long parent)
    {
        var begun = generation.Began ? generation : generation with
        {
            Began = true,
            StartStep = segment.StartStep,
            CommittedStep = segment.StartStep,
            DigestStep = segment.StartStep,
            SamplesDigest = 0,
            Parent = parent,
        };
        return begun with
        {
            CommittedStep = Math.Max(begun.CommittedStep, segment.EndStep),
            DigestStep = Math.Max(begun.DigestStep, segment.EndStep),
            SamplesDigest = segment.EndStep > begun.DigestStep ? segment.SamplesDigest : begun.SamplesDigest,
        };
    }
}

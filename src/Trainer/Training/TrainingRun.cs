using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Stack;

namespace DarkMatter.Trainer.Training;

/// <summary>One rank's part of a run in one generation, from options to result.</summary>
public static class TrainingRun
{
    /// <summary>Trains on the calling thread until the run ends.</summary>
    /// <param name="options">The run, as this rank sees it.</param>
    /// <param name="openSource">Opens this rank's batches from the step given on; disposed when training ends.</param>
    /// <param name="ranks">The generation.</param>
    /// <param name="session">The world outside.</param>
    /// <param name="cancellationToken">Ends training at once, without a checkpoint.</param>
    /// <exception cref="ArgumentException">The options have problems; all are named.</exception>
    /// <exception cref="Checkpoints.CheckpointException">A checkpoint cannot be read or written.</exception>
    /// <exception cref="TrainingDivergedException">Loss or gradients are not finite.</exception>
    /// <exception cref="StateDivergedException">Ranks do not hold the same state.</exception>
    /// <exception cref="CollectiveAbortedException">A rank was lost.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static TrainResult Execute(
        TrainOptions options, Func<long, IViewSource> openSource, ICollective ranks, ITrainingSession session, CancellationToken cancellationToken)
    {
        if (options.Problems().ToList() is { Count: > 0 } problems)
            throw new ArgumentException($"run '{options.Run}': {string.Join("; ", problems)}", nameof(options));
        var stack = TorchStack.Current;
        if (options.Threads > 0)
            stack.SetThreads(options.Threads);

        var timed = new TimedCollective(ranks);
        using var state = TrainState.Create(options, timed, stack);
        timed.TakeBlocked();
        session.Note($"rank {ranks.Rank} of {ranks.World} trains {options.Run} from step {state.Step} to {state.TotalSteps} in {(state.BFloat16 ? "bfloat16" : options.Precision == Precision.Float64 ? "float64" : "float32")} on {stack.Description}");

        var source = openSource(state.Step);
        try
        {
            return new TrainLoop(options, state, source, timed, session).Run(cancellationToken);
        }
        finally
        {
            source.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }
}

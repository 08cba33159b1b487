using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Stack;

namespace DarkMatter.Trainer.Training;

/// <summary>One rank's part of a run, from options to result.</summary>
public static class TrainingRun
{
    /// <summary>Trains one generation that nothing precedes or follows, on the calling thread, until the run ends.</summary>
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
        using var state = TrainState.Prepare(options, TorchStack.Current);
        return Generation(options, state, openSource, ranks, session, cancellationToken);
    }

    /// <summary>
    /// Trains a generation from the state that its ranks agree on, until it ends; however it ends, the state is that of a step boundary.
    /// Parameters and exceptions are those of <see cref="Execute"/>.
    /// </summary>
    public static TrainResult Generation(
        TrainOptions options, TrainState state, Func<long, IViewSource> openSource, ICollective ranks, ITrainingSession session, CancellationToken cancellationToken)
    {
        state.Enter(options, ranks);
        try
        {
            var began = new Healing(options, state, session).Begin(cancellationToken);
            state.Ranks.TakeBlocked();
            session.Note($"rank {ranks.Rank} of {ranks.World} trains {options.Run} from step {state.Step} to {state.TotalSteps} in {(state.Method.Autocast ? "bfloat16" : options.Precision == Precision.Float64 ? "float64" : "float32")} on {state.Stack.Description}");
            session.GenerationBegan(began);
            session.Banks?.Began(options, state, began.Healed.Contains(ranks.Rank));
            var source = openSource(state.Step);
            try
            {
                return new TrainLoop(options, state, source, session).Run(cancellationToken);
            }
            finally
            {
                source.DisposeAsync().AsTask().GetAwaiter().GetResult();
            }
        }
        finally
        {
            session.Banks?.Ended();
            state.Abandon();
        }
    }
}

using System.Diagnostics;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Optimizers;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// Training, top to bottom: what one rank does in every step. Ranks make the same calls in the same order, so each collective call
/// meets its counterparts; what is decided from data is decided from numbers that all ranks have.
/// </summary>
/// <param name="options">The run.</param>
/// <param name="state">Networks, optimizer and progress; changed in place.</param>
/// <param name="source">This rank's batches from step <c>state.Step</c> on.</param>
/// <param name="ranks">The generation.</param>
/// <param name="session">The world outside.</param>
public sealed class TrainLoop(TrainOptions options, TrainState state, IViewSource source, TimedCollective ranks, ITrainingSession session)
{
    /// <summary>Trains until the last step, a request to stop, or cancellation.</summary>
    /// <exception cref="TrainingDivergedException">Loss or gradients are not finite; the step was not applied.</exception>
    /// <exception cref="StateDivergedException">Ranks do not hold the same state.</exception>
    /// <exception cref="CollectiveAbortedException">A rank was lost; the step was not applied.</exception>
    public TrainResult Run(CancellationToken cancellationToken)
    {
        using var gradients = new GradientBuckets(state.Parameters, ranks, options.BucketBytes, StepSums.Count, state.Stack);
        using var views = new ViewBuffer(options, state.Method.Views);
        using var checkpoints = state.CheckpointWriter(options, ranks.Rank, ranks.Generation, session);
        var calibration = new Calibration(options, state, ranks, session);
        var schedule = new Schedule(options.Optimizer, state.TotalSteps);
        var clock = Stopwatch.StartNew();
        var sums = default(StepSums);

        while (state.Step < state.TotalSteps && !sums.Stop)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();

            var waited = Stopwatch.GetTimestamp();
            using var batch = views.Read(source, state.Step, cancellationToken);
            var dataWait = Stopwatch.GetElapsedTime(waited);

            var x = views.Normalized(batch, state.Stack);                       // [V·n, 3, H, W] float32, channels-last
            var loss = state.Method.Loss(x);                                    // this rank's summand
            gradients.Begin(StepSums.Summands(loss, options, session.StopRequested && ranks.Rank == 0));
            loss.Value.backward();                                              // finished buckets travel meanwhile
            var finite = gradients.Finish(out sums);                            // now gradients and sums are the global batch's

            var lr = schedule.At(state.Step);
            if (!finite || !double.IsFinite(sums.Loss))
                throw new TrainingDivergedException(options, state, sums.Loss, lr);
            state.Optimizer.Step(gradients.Gradients, lr);
            state.Step++;
            state.Method.AfterUpdate(state.Step, state.TotalSteps);

            var hash = options.HashEvery > 0 && state.Step % options.HashEvery == 0 ? state.CompareHashes(ranks) : (ulong?)null;
            var elapsed = clock.Elapsed;
            clock.Restart();
            state.Trained += elapsed;
            if (calibration.StepTook(elapsed))
                schedule = new Schedule(options.Optimizer, state.TotalSteps);

            session.StepApplied(new StepReport
            {
                Step = state.Step,
                TotalSteps = state.TotalSteps,
                Loss = sums.Loss,
                LearningRate = lr,
                Elapsed = elapsed,
                ImagesPerSecond = options.GlobalBatch / elapsed.TotalSeconds,
                DataWait = dataWait,
                ExposedCommunication = ranks.TakeBlocked() + gradients.Waited,
                EmbeddingStd = sums.EmbeddingStd,
                Keys = batch.Keys,
                StateHash = hash,
            });

            var last = state.Step == state.TotalSteps || sums.Stop;
            if (last || (options.CheckpointEvery > 0 && state.Step % options.CheckpointEvery == 0))
                checkpoints?.Save(state.Progress(options), required: last);
        }

        checkpoints?.Complete();
        return new TrainResult(state.Step, state.TotalSteps, sums.Loss, sums.Stop && state.Step < state.TotalSteps, state.BFloat16, checkpoints?.LatestPath);
    }
}

/// <summary>How training ended.</summary>
/// <param name="Step">Updates applied.</param>
/// <param name="TotalSteps">Updates of the whole run.</param>
/// <param name="Loss">Of the last step; 0 if there was none.</param>
/// <param name="Stopped">Whether it ended early, because it was asked to.</param>
/// <param name="BFloat16">Whether the networks computed in bfloat16, else in float32.</param>
/// <param name="CheckpointPath">The newest checkpoint this rank wrote; null on ranks that write none.</param>
public sealed record TrainResult(long Step, long TotalSteps, double Loss, bool Stopped, bool BFloat16, string? CheckpointPath);

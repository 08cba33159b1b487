using System.Diagnostics;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Optimizers;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// Training, top to bottom: what one rank does in every step. Ranks make the same calls in the same order, so each collective call
/// meets its counterparts; what is decided from data is decided from numbers that all ranks have.
/// </summary>
/// <param name="options">The run.</param>
/// <param name="state">Networks, optimizer, progress and ranks, in a generation that has begun; changed in place.</param>
/// <param name="source">This rank's batches from step <c>state.Step</c> on.</param>
/// <param name="session">The world outside.</param>
public sealed class TrainLoop(TrainOptions options, TrainState state, IViewSource source, ITrainingSession session)
{
    /// <summary>Trains until the last step, or until a rank is asked to stop or to leave the generation, or cancellation.</summary>
    /// <exception cref="TrainingDivergedException">Loss or gradients are not finite; the step was not applied.</exception>
    /// <exception cref="StateDivergedException">Ranks do not hold the same state.</exception>
    /// <exception cref="CollectiveAbortedException">A rank was lost; a step that was not applied has left no trace once <c>state.Abandon</c> is called.</exception>
    public TrainResult Run(CancellationToken cancellationToken)
    {
        var (ranks, gradients) = (state.Ranks, state.Gradients);
        using var views = new ViewBuffer(options);
        var checkpoints = state.CheckpointWriter(options, session);
        var calibration = new Calibration(options, state, ranks, session);
        var schedule = new Schedule(options.Optimizer, state.TotalSteps, state.Method.UntrainedSteps);
        var watch = new TrainingWatch(options, state);
        var clock = Stopwatch.StartNew();
        var sums = default(StepSums);

        while (state.Step < state.TotalSteps && !sums.Leave && !options.SaveOnly)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();

            var waited = Stopwatch.GetTimestamp();
            using var batch = views.Read(source, state.Step, cancellationToken);
            var dataWait = Stopwatch.GetElapsedTime(waited);

            state.BeginStep();                                                  // what is broken off from here on is undone
            state.Share.Show(batch.Numbers);
            var x = views.Normalized(batch, state.Stack);                       // [V·n, 3, H, W] of each size
            var loss = state.Method.Loss(x);                                    // this rank's summand
            gradients.Begin(StepSums.Summands(loss, options, batch.Digest, session, checkpoints?.IsBusy == true));
            loss.Value.backward();                                              // finished buckets travel meanwhile
            var finite = gradients.Finish(out sums);                            // now gradients and sums are the global batch's

            var lr = schedule.At(state.Step);
            if (!finite || !double.IsFinite(sums.Loss))
                throw new TrainingDivergedException(options, state, sums.Loss, lr);
            state.ApplyStep(lr, sums.SamplesDigest);                            // optimizer, moving averages; the step is made
            session.Banks?.Stepped(state);

            var ends = sums.Leave || state.Step >= state.TotalSteps;
            var saves = !ends && options.CheckpointEvery > 0 && state.Step % options.CheckpointEvery == 0;
            var elapsed = clock.Elapsed;
            clock.Restart();
            state.Trained += elapsed;
            var report = new StepReport
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
                SamplesDigest = state.Lineage[^1].SamplesDigest,
                Keys = batch.Keys,
            };

            CollapseReport? health;
            try
            {
                var compares = ComparesHashes(ranks.World, saves || (ends && (!sums.Yield || sums.Checkpoint)));
                report = report with { StateHash = compares ? state.CompareHashes() : null };
                health = watch.After(sums.Loss, loss.Embeddings);       // on a schedule; a collapse is told, never trained on
                if (calibration.StepTook(elapsed))
                    schedule = new Schedule(options.Optimizer, state.TotalSteps, state.Method.UntrainedSteps);
            }
            catch (CollectiveAbortedException)
            {
                session.StepApplied(report);                                    // the step is made, whoever was lost after it
                throw;
            }

            session.StepApplied(report with { TotalSteps = state.TotalSteps, Health = health });
            if (health is not null && state.Looks.MustAct)
                session.Collapsed(options.Watch.OnCollapse, $"step {state.Step}: {health.Verdict}");

            if (saves)
                state.Save(checkpoints, sums.Busy, session);
        }

        var (done, stopped) = (state.Step >= state.TotalSteps, sums.Stop);
        if (done || stopped || sums.Checkpoint || options.SaveOnly)
        {
            using (new SignsOfLife(ranks.Working, 2 * (checkpoints?.Deadline ?? default)))    // the others may have written their parts long before
            {
                checkpoints?.Save(state.Progress(), required: true);            // waits for a part that is still on its way
                checkpoints?.Complete();
            }

            ranks.Barrier();                                                    // nobody goes before the last checkpoint is whole
        }

        return new TrainResult(
            state.Step, state.TotalSteps, sums.Loss, stopped && !done, sums.Yield && !stopped && !done, state.Method.Autocast, checkpoints?.LatestPath);
    }

    // On a schedule; and before a checkpoint, which must not be of several states.
    private bool ComparesHashes(int world, bool saves) => options.HashEvery > 0 && (state.Step % options.HashEvery == 0 || (saves && world > 1));
}

/// <summary>How training ended.</summary>
/// <param name="Step">Updates applied.</param>
/// <param name="TotalSteps">Updates of the whole run.</param>
/// <param name="Loss">Of the last step; 0 if there was none.</param>
/// <param name="Stopped">Whether the run ended early, because a rank was asked to end it.</param>
/// <param name="Yielded">Whether only the generation ended: the run goes on in another, with this state.</param>
/// <param name="BFloat16">Whether the networks computed in bfloat16, else in float32.</param>
/// <param name="CheckpointPath">The newest checkpoint this rank wrote; null on ranks that write none.</param>
public sealed record TrainResult(long Step, long TotalSteps, double Loss, bool Stopped, bool Yielded, bool BFloat16, string? CheckpointPath);

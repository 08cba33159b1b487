using System.Globalization;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>What a trainer does, order by order, on its training thread.</summary>
/// <param name="options">Who it is.</param>
/// <param name="session">The silo.</param>
/// <param name="peers">The port its peers reach it at.</param>
/// <param name="logs">Gets every step.</param>
internal sealed class TrainerLife(TrainerProcessOptions options, TrainerSession session, PeerServer peers, RunLogs logs) : IDisposable
{
    /// <summary>Who left because another rank had its order waits so long for its own before it asks for one.</summary>
    private static readonly TimeSpan YieldPatience = TimeSpan.FromSeconds(1);

    private PreparedRun? prepared;
    private string left = "new";

    private long HeldStep => prepared is { State.Holds: true } run ? run.State.Step : -1;

    /// <summary>Lives until the run is over for this trainer.</summary>
    /// <returns>What the process ends with.</returns>
    /// <exception cref="SessionEndedException">The silo ended the run, refused this trainer, or is lost.</exception>
    public int Live()
    {
        try
        {
            while (true)
            {
                switch (session.Orders.Take())
                {
                    case Order.Wait { Message: var standby }:
                        Prepare(standby);
                        SayReady();
                        break;
                    case Order.Train { Assignment: var assignment }:
                        Prepare(new Standby
                        {
                            RecipeYaml = assignment.RecipeYaml,
                            LaneCount = assignment.LaneCount,
                            DatasetDigest = assignment.DatasetDigest,
                            TotalSteps = assignment.TotalSteps,
                        });
                        if (Train(assignment) is { } exit)
                        {
                            return exit;
                        }
                        break;
                    case Order.Rejoin { Reason: var reason }:
                        left = $"lost its place: {reason}";
                        session.Note(left);
                        break;
                    case Order.Go { Reason: var reason }:
                        return Leave(new Leaving { Reason = $"drained: {reason}" }, ExitCode.Drained);
                    case Order.Stop { Over: false } when HeldStep > 0:
                        SayReady();
                        break;
                    case Order.Stop { Reason: var reason }:
                        return Leave(new Leaving { Reason = $"stopped: {reason}" }, ExitCode.Stopped);
                    case Order.End { ExitCode: ExitCode.Drained, Reason: var reason }:
                        return Leave(new Leaving { Reason = $"drained: {reason}" }, ExitCode.Drained);
                    case Order.End end:
                        throw new SessionEndedException(end.ExitCode, end.Reason);
                }
            }
        }
        catch (Exception e) when (e is not SessionEndedException)
        {
            // A loss that is no number is nobody's fault in particular: the run ends. Anything else is this trainer's own: the others go on.
            Leave(new Leaving { Failed = true, RunFailed = e is TrainingDivergedException, Reason = e.Message }, ExitCode.Failed);
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => prepared?.Dispose();

    private void Prepare(Standby run)
    {
        if (prepared is not null)
        {
            return;
        }
        prepared = PreparedRun.Create(options, run);
        session.Prepared(run.RecipeYaml);
        session.Note($"prepared, with {options.Threads} thread{(options.Threads == 1 ? "" : "s")}");
    }

    /// <summary>Takes a place in a generation until it ends.</summary>
    /// <returns>What the process ends with; null when it goes on with the next order.</returns>
    private int? Train(Assignment assignment)
    {
        var (state, broke) = (prepared!.State, true);
        session.Enter(assignment);
        session.Note(string.Create(CultureInfo.InvariantCulture,
            $"generation {assignment.Generation}: rank {assignment.Rank} of {assignment.World}, lanes {string.Join(' ', assignment.Lanes)}; {assignment.Reason}"));
        using var generation = new TrainerGeneration(assignment, session, peers, options.Session.ConnectTimeout);
        try
        {
            var result = generation.Train(prepared, logs);
            (left, broke) = ($"left generation {assignment.Generation} at step {result.Step}", false);
            if (result.Step >= result.TotalSteps || result.Stopped)
            {
                session.Note(string.Create(CultureInfo.InvariantCulture, $"{(result.Stopped ? "stopped" : "done")} at step {result.Step} of {result.TotalSteps}"));
                return Leave(new Leaving { Completed = !result.Stopped, Reason = result.Stopped ? "stopped on request" : "done" }, result.Stopped ? ExitCode.Stopped : ExitCode.Done);
            }
        }
        catch (StateDivergedException e)
        {
            left = e.Message;
            foreach (var rank in e.Tainted)
            {
                session.PeerFailed(rank, e.Message, stateDiffers: true);
            }
        }
        catch (CollectiveAbortedException e) when (!generation.IsOver)
        {
            left = e.Message;
            session.PeerFailed(e.FailedRank is { } failed && failed != assignment.Rank ? failed : -1, e.Message);
        }
        catch (Exception e) when (generation.IsOver && e is CollectiveAbortedException or OperationCanceledException)
        {
            left = generation.Why;
        }

        session.Note($"{left}; holds {(state.Holds ? $"step {state.Step} of generation {state.Generation}" : "no state")}");
        session.Exit(HeldStep);
        if (!session.Orders.Wait(broke ? TimeSpan.Zero : YieldPatience))
        {
            SayReady();
        }
        return null;
    }

    private void SayReady()
    {
        session.Exit(HeldStep);
        session.Ready(prepared is { State.Holds: true } run ? run.State.Generation : 0, left);
    }

    /// <summary>The last word. While the silo is away it keeps for as long as training would have.</summary>
    private int Leave(Leaving message, int exitCode)
    {
        (message.Generation, message.Step) = (session.Generation, Math.Max(0, HeldStep));
        if (message.Completed)
        {
            // The last steps may have been reported to a generation that was over for the silo.
            message.Lineage.AddRange(TrainerSession.ToMessages(prepared!.State.Lineage));
        }
        var patience = message.Completed ? options.Session.SiloPatience : options.Session.LeavePatience;
        if (!session.LeaveAsync(message, patience).GetAwaiter().GetResult())
        {
            session.Note($"the silo has not heard the last word within {patience.TotalSeconds:0} s: {message.Reason}");
        }
        return exitCode;
    }
}

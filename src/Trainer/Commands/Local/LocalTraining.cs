using System.Diagnostics;
using System.Globalization;
using DarkMatter.Data;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Recipes;
using Grpc.Core;

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>
/// Trains a run on this machine: starts one silo and its trainers as processes, follows the run, and ends them all. When a trainer dies the others
/// go on, when the silo dies it is started again; too few trainers left, and this ends within seconds. Either way a message names who died.
/// </summary>
internal sealed class LocalTraining(PretrainRequest request, RunFolder folder, Output output)
{
    private static readonly TimeSpan CallDeadline = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan CausePatience = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan EndPatience = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan SilencePatience = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan SiloPatience = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan RetryPause = TimeSpan.FromMilliseconds(300);

    /// <summary>A silo that dies again and again has a cause that starting it does not cure.</summary>
    private const int SiloRestarts = 3;

    private readonly List<ChildProcess> trainers = [];
    private readonly List<ChildExit> exits = [];
    private readonly HashSet<int> outlived = [];
    private readonly Stopwatch clock = new();
    private readonly ProgressText text = new();
    private int minTrainers;
    private long lossStep;
    private int siloRestarts;
    private string notice = "";
    private string health = "";
    private RunStatus status = new();

    /// <summary>Runs to the end of training.</summary>
    /// <param name="recipe">The recipe the run was started with.</param>
    /// <param name="catalog">Its dataset.</param>
    /// <param name="resumeFrom">A checkpoint to go on from, or null.</param>
    /// <param name="timeLeft">The time from now in which training should be over; null for no limit.</param>
    /// <param name="stop">Cancelled to stop gracefully, with a checkpoint.</param>
    /// <returns>The run's final status.</returns>
    /// <exception cref="CommandException">It did not complete.</exception>
    public async Task<RunStatus> RunAsync(ResolvedRecipe recipe, Catalog catalog, (long Step, string Path)? resumeFrom, Func<TimeSpan>? timeLeft, CancellationToken stop)
    {
        await using var silo = await LocalSilo.StartAsync(folder, request.Port, stop);
        output.Line($"silo       process {silo.Process.Id}, {silo.Address}, status page {silo.WebAddress}");
        try
        {
            minTrainers = recipe.Recipe.Local.MinTrainers;
            status = await CreateRunAsync(silo, recipe, catalog, resumeFrom, timeLeft is not null, stop);
            StartTrainers(silo, recipe.Recipe, timeLeft);
            return await FollowAsync(silo, stop);
        }
        finally
        {
            await Task.WhenAll(trainers.Select(async trainer =>
            {
                await trainer.StopAsync(exits.Count > 0 ? TimeSpan.FromSeconds(1) : TimeSpan.FromSeconds(5));
                await trainer.DisposeAsync();
            }));
            await silo.Process.StopAsync(TimeSpan.FromSeconds(5));
        }
    }

    private async Task<RunStatus> CreateRunAsync(
        LocalSilo silo, ResolvedRecipe recipe, Catalog catalog, (long Step, string Path)? resumeFrom, bool limited, CancellationToken stop)
    {
        var options = recipe.Recipe;
        var create = RunRequest.For(request.Run, recipe, catalog, request.Trainers);
        create.MinWorld = options.Local.MinTrainers;
        create.TotalSteps = options.Train.Budget is null && !limited ? options.StepsFor(catalog.SampleCount) : 0;
        create.Resume = request.Resume;
        create.StartStep = resumeFrom?.Step ?? 0;
        create.CheckpointPath = resumeFrom?.Path ?? "";
        try
        {
            return await silo.Client.CreateRunAsync(create, deadline: DateTime.UtcNow + CallDeadline, cancellationToken: stop);
        }
        catch (RpcException e) when (RunRequest.IsRefusal(e))
        {
            throw new CommandException(ExitCode.BadRequest, $"run '{request.Run}': {e.Status.Detail}", e);
        }
        catch (RpcException e) when (!stop.IsCancellationRequested)
        {
            throw new CommandException(ExitCode.LostSilo, $"run '{request.Run}': the silo did not create the run: {e.Status.Detail}; its log is {silo.Process.LogPath}", e);
        }
    }

    private void StartTrainers(LocalSilo silo, Recipe recipe, Func<TimeSpan>? timeLeft)
    {
        var threads = recipe.Local.ThreadsPerTrainer(request.Trainers, Environment.ProcessorCount);
        var count = threads.ToString(CultureInfo.InvariantCulture);
        var environment = new Dictionary<string, string>
        {
            // Two trainers with a thread pool for the whole machine each would fight for its cores.
            ["OMP_NUM_THREADS"] = count,
            ["MKL_NUM_THREADS"] = count,
            ["OPENBLAS_NUM_THREADS"] = count,
            ["OMP_WAIT_POLICY"] = "PASSIVE",
            ["DOTNET_gcServer"] = "0",
        };
        for (var i = 0; i < request.Trainers; i++)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"trainer-{i}");
            List<string> arguments =
            [
                "trainer", "--silo", silo.Address, "--run", request.Run, "--name", name, "--output", folder.Path,
                "--threads", count, "--child-of", folder.Path,
            ];
            if (timeLeft is not null)
            {
                arguments.AddRange(["--train-for", timeLeft().TotalSeconds.ToString("R", CultureInfo.InvariantCulture)]);
            }
            if (request.RecordKeys is { } keys)
            {
                arguments.AddRange(["--record-keys", Path.Combine(keys, name + ".keys")]);
            }
            trainers.Add(ChildProcess.Start(name, arguments, environment, folder.LogOf(name)));
        }
        output.Line($"trainers   {string.Join(", ", trainers.Select(trainer => $"{trainer.Name} (process {trainer.Id})"))}, {threads} thread{(threads == 1 ? "" : "s")} each");
        output.Line($"logs       {SelfInvocation.Shorten(Path.Combine(folder.Path, "logs"))}");
    }

    private async Task<RunStatus> FollowAsync(LocalSilo silo, CancellationToken stop)
    {
        clock.Start();
        using var over = new CancellationTokenSource();
        var watching = WatchAsync(silo, over.Token);
        var ends = trainers.Append(silo.Process).Select(child => child.Exited).ToList();
        var stopping = stop.CanBeCanceled ? Task.Delay(Timeout.Infinite, stop) : Task.Delay(Timeout.Infinite, over.Token);
        try
        {
            while (true)
            {
                var first = await Task.WhenAny([watching, stopping, .. ends]);
                if (first == stopping)
                {
                    return await StopAsync(silo, watching);
                }
                if (first == watching)
                {
                    return await ConcludeAsync(silo, await watching);
                }
                var exit = await (Task<ChildExit>)first;
                ends.Remove((Task<ChildExit>)first);
                if (exit.Name == silo.Process.Name)
                {
                    ends.Add((await RestartSiloAsync(silo, exit, stop)).Exited);
                    continue;
                }
                // A trainer that is done ends before the run as a whole is: the others may still write the last checkpoint.
                if (exit.Code != ExitCode.Done)
                {
                    if (status.Step > lossStep)
                    {
                        // The run outlived the losses before this one.
                        outlived.UnionWith(exits.Select(e => e.ProcessId));
                        exits.Clear();
                        lossStep = status.Step;
                    }
                    exits.Add(exit);
                    var left = trainers.Count(trainer => !trainer.Exited.IsCompleted);
                    if (exit.Code == ExitCode.BadRequest || status.Generation == 0 || left < minTrainers)
                    {
                        throw await FailAsync(silo);
                    }
                    output.Line($"{exit}; the run goes on with {left} of {trainers.Count} trainers");
                }
                if (trainers.TrueForAll(trainer => trainer.Exited.IsCompleted))
                {
                    await Task.WhenAny(watching, Task.Delay(EndPatience, CancellationToken.None));
                    return await ConcludeAsync(silo, status);
                }
            }
        }
        finally
        {
            await over.CancelAsync();
        }
    }

    private async Task<ChildProcess> RestartSiloAsync(LocalSilo silo, ChildExit exit, CancellationToken stop)
    {
        if (++siloRestarts > SiloRestarts)
        {
            exits.Add(exit);
            throw await FailAsync(silo);
        }
        output.Line($"{exit}; the trainers train on while it is started again ({siloRestarts} of {SiloRestarts})");
        await silo.RestartAsync(folder, stop);
        output.Line($"silo       process {silo.Process.Id}, {silo.Address}, status page {silo.WebAddress}");
        return silo.Process;
    }

    /// <summary>Follows the run until its last status; its own silence is bounded by asking when nothing comes.</summary>
    private async Task<RunStatus> WatchAsync(LocalSilo silo, CancellationToken cancellationToken)
    {
        var answered = Stopwatch.StartNew();
        while (true)
        {
            using var quiet = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            quiet.CancelAfter(SilencePatience);
            try
            {
                using var call = silo.Client.WatchRun(new GetRunRequest { Run = request.Run }, cancellationToken: quiet.Token);
                await foreach (var update in call.ResponseStream.ReadAllAsync(quiet.Token))
                {
                    quiet.CancelAfter(SilencePatience);
                    answered.Restart();
                    status = update;
                    if (update.Notice.Length > 0 && update.Notice != notice)
                    {
                        output.Line(notice = update.Notice);
                    }
                    if (update.Health.Split(':')[0] is var word && word != health)
                    {
                        if (health.Length > 0 || word != "healthy")
                        {
                            output.Line($"embeddings {update.Health} (step {update.Step})");
                        }
                        health = word;
                    }
                    output.Progress(() => text.Describe(update, clock.Elapsed));
                    if (IsFinal(update.State))
                    {
                        return update;
                    }
                }
            }
            catch (Exception e) when (e is RpcException or OperationCanceledException or IOException)
            {
                cancellationToken.ThrowIfCancellationRequested();
            }
            try
            {
                // Silent or broken: a silo that still answers is only waiting, too.
                status = await silo.Client.GetRunAsync(new GetRunRequest { Run = request.Run }, deadline: DateTime.UtcNow + CallDeadline, cancellationToken: cancellationToken);
                if (IsFinal(status.State))
                {
                    return status;
                }
            }
            catch (RpcException)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (answered.Elapsed > SiloPatience)
                {
                    throw Failure(ExitCode.LostSilo, $"the silo (process {silo.Process.Id}) has not answered for {answered.Elapsed.TotalSeconds:0} s");
                }
                await Task.Delay(RetryPause, cancellationToken);
            }
        }
    }

    private async Task<RunStatus> ConcludeAsync(LocalSilo silo, RunStatus last)
    {
        if (last.State == RunState.Completed)
        {
            output.Progress(() => text.Describe(last, clock.Elapsed), final: true);
            await Task.WhenAny(Task.WhenAll(trainers.Select(trainer => trainer.Exited)), Task.Delay(EndPatience));
            return last;
        }
        // The silo says why; the processes say who. They may need a moment to end.
        await Task.WhenAny(Task.WhenAll(trainers.Select(trainer => trainer.Exited)), Task.Delay(CausePatience));
        CollectExits(silo);
        if (last.State == RunState.Stopped)
        {
            throw Failure(ExitCode.Stopped, $"stopped: {last.Reason}");
        }
        throw await FailAsync(silo);
    }

    private async Task<CommandException> FailAsync(LocalSilo silo)
    {
        var patience = Task.Delay(CausePatience);
        while (Verdict.MayStillChange(exits) && !patience.IsCompleted)
        {
            var running = trainers.Append(silo.Process).Select(child => child.Exited).Where(end => !end.IsCompleted).ToArray();
            if (running.Length == 0)
            {
                break;
            }
            await Task.WhenAny([patience, .. running]);
            CollectExits(silo);
        }
        CollectExits(silo);
        var cause = Verdict.Cause(exits);
        if (cause is null || Verdict.MayStillChange(exits))
        {
            var reason = status.Reason.Length > 0 ? status.Reason : cause?.ToString() ?? "the run ended without a reason";
            return Failure(cause?.Code == ExitCode.LostSilo ? ExitCode.LostSilo : ExitCode.LostTrainer, reason, cause);
        }
        var code = cause.Name == silo.Process.Name ? ExitCode.LostSilo : cause.Code == ExitCode.BadRequest ? ExitCode.BadRequest : ExitCode.LostTrainer;
        return Failure(code, cause.ToString(), cause);
    }

    private async Task<RunStatus> StopAsync(LocalSilo silo, Task<RunStatus> watching)
    {
        output.Line("stopping at the next step, with a checkpoint (again to stop at once)");
        try
        {
            await silo.Client.StopRunAsync(new StopRunRequest { Run = request.Run, Reason = "asked to stop" }, deadline: DateTime.UtcNow + CallDeadline);
            await Task.WhenAny(watching, Task.Delay(StopPatience));
        }
        catch (RpcException e)
        {
            output.Line($"the silo did not take the stop: {e.Status.Detail}");
        }
        if (watching is { IsCompletedSuccessfully: true } && (await watching).State == RunState.Completed)
        {
            return await watching;
        }
        throw Failure(ExitCode.Stopped, "stopped on request");
    }

    private void CollectExits(LocalSilo silo)
    {
        foreach (var child in trainers.Append(silo.Process))
        {
            if (child.Exited.IsCompleted && !outlived.Contains(child.Id) && exits.All(exit => exit.ProcessId != child.Id))
            {
                exits.Add(child.Exited.Result);
            }
        }
    }

    private CommandException Failure(int code, string what, ChildExit? cause = null)
    {
        var newest = CheckpointFolder.All(folder.Path);
        var message = new System.Text.StringBuilder();
        message.Append(CultureInfo.InvariantCulture, $"run '{request.Run}': {what}\n");
        if (cause is not null)
        {
            foreach (var line in trainers.Where(trainer => trainer.Id == cause.ProcessId).SelectMany(trainer => trainer.LastLines.TakeLast(3)))
            {
                message.Append(CultureInfo.InvariantCulture, $"    {line}\n");
            }
        }
        message.Append(CultureInfo.InvariantCulture, $"  last committed step  {status.Step}{(status.TotalSteps > 0 ? $" of {status.TotalSteps}" : "")}\n");
        message.Append(CultureInfo.InvariantCulture, $"  newest checkpoint    {(newest.Count > 0 ? $"step {newest[^1].Step}, {SelfInvocation.Shorten(newest[^1].Path)}" : "none yet: it would begin anew")}\n");
        message.Append(CultureInfo.InvariantCulture, $"  log                  {SelfInvocation.Shorten(cause is null ? Path.Combine(folder.Path, "logs") : folder.LogOf(cause.Name))}\n");
        message.Append(CultureInfo.InvariantCulture, $"  go on with           {request.ResumeCommand()}");
        return new CommandException(code, message.ToString());
    }

    private static bool IsFinal(RunState state) => state is RunState.Completed or RunState.Failed or RunState.Stopped;
}

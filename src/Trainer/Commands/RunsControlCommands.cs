using System.CommandLine;
using System.Diagnostics;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Commands.Local;
using Grpc.Core;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter runs pause|resume|stop</c>: changes a run at a silo, and says what became of it.</summary>
internal static class RunsControlCommands
{
    /// <summary>A little longer than the silo gives trainers to stop.</summary>
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(75);

    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(200);

    public static Command Pause()
    {
        var reason = ReasonOption("paused");
        return Control(
            "pause", "Pauses a run: its trainers take a checkpoint at the next step and wait with their state in memory.", reason,
            (client, run, parsed, deadline) => client.PauseRunAsync(new PauseRunRequest { Run = run, Reason = parsed.GetValue(reason) ?? "" }, deadline: deadline));
    }

    public static Command Resume() => Control(
        "resume", "Ends a pause. An ended run is reopened with 'runs create --resume' or 'pretrain --resume'.", null,
        (client, run, _, deadline) => client.UnpauseRunAsync(new UnpauseRunRequest { Run = run }, deadline: deadline));

    public static Command Stop()
    {
        var reason = ReasonOption("stopped");
        return Control(
            "stop", "Stops a run: its trainers take a checkpoint at the next step and end. It can be resumed.", reason,
            (client, run, parsed, deadline) => client.StopRunAsync(new StopRunRequest { Run = run, Reason = parsed.GetValue(reason) ?? "" }, deadline: deadline),
            EndedAsync);
    }

    private static Option<string?> ReasonOption(string what) => new("--reason") { Description = $"Why it is {what}, for people.", HelpName = "TEXT" };

    private static Command Control(
        string verb,
        string description,
        Option<string?>? reason,
        Func<Coordinator.CoordinatorClient, string, ParseResult, DateTime, AsyncUnaryCall<RunStatus>> ask,
        Func<string, RunStatus, CancellationToken, Task<RunStatus>>? wait = null)
    {
        var silo = new Option<string>("--silo") { Description = "The silo, as http://host:port.", HelpName = "URL", Required = true };
        var name = new Argument<string>("name") { Description = "The run's name." };
        var json = RunsCommand.JsonOption();
        var command = new Command(verb, description) { name, silo, json };
        if (reason is not null)
        {
            command.Add(reason);
        }
        command.SetAction(async (parsed, _) =>
        {
            var url = parsed.GetRequiredValue(silo);
            var run = parsed.GetRequiredValue(name);
            var status = await SiloCall.AskAsync(url, (client, deadline) => ask(client, run, parsed, deadline));
            if (wait is not null)
            {
                using var interruption = new Interruption();
                status = await wait(url, status, interruption.Token);
            }
            RunText.Print(status, parsed.GetValue(json), Console.Out);
            return ExitCode.Done;
        });
        return command;
    }

    private static async Task<RunStatus> EndedAsync(string url, RunStatus status, CancellationToken stop)
    {
        var screen = Output.OfProcess();
        var waiting = Stopwatch.StartNew();
        while (status.State is RunState.Waiting or RunState.Training or RunState.Paused)
        {
            if (waiting.Elapsed >= StopPatience)
            {
                throw new CommandException(ExitCode.LostTrainer, $"run '{status.Run}' has not stopped after {StopPatience.TotalSeconds:0} s; 'darkmatter runs show {status.Run} --silo {url}' shows its trainers");
            }
            screen.Progress(() => $"stopping at step {status.Step}, {status.Members.Count(member => member.Alive)} trainers left");
            await Task.Delay(LookEvery, stop);
            status = await SiloCall.AskAsync(url, (client, until) => client.GetRunAsync(new GetRunRequest { Run = status.Run }, deadline: until));
        }
        return status;
    }
}

using System.CommandLine;
using DarkMatter.Data;
using DarkMatter.Protocol;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter runs create</c>: tells a silo of a run, so that trainers can join it.</summary>
internal static class RunsCreateCommand
{
    private static readonly TimeSpan CallDeadline = TimeSpan.FromSeconds(30);

    public static Command Create()
    {
        var silo = new Option<string>("--silo") { Description = "The silo, as http://host:port.", HelpName = "URL", Required = true };
        var recipe = new RecipeArguments();
        var run = new Option<string?>("--run") { Description = "The run's name. Default: the recipe's.", HelpName = "NAME" };
        var trainers = new Option<int?>("--trainers") { Description = "Trainers the run begins with. Default: the recipe's local.trainers.", HelpName = "N" };
        var min = new Option<int?>("--min-trainers") { Description = "With fewer, the run waits. Default: the recipe's local.min_trainers.", HelpName = "N" };
        var max = new Option<int>("--max-trainers") { Description = "More wait as spares. 0: as many as there are lanes.", HelpName = "N", DefaultValueFactory = _ => 0 };
        var dataset = new Option<string?>("--dataset") { Description = "Where the dataset is on this machine, if not where the recipe says.", HelpName = "DIR" };
        var ifMissing = new Option<bool>("--if-missing") { Description = "Do nothing when the run exists already." };
        var resume = new Option<bool>("--resume") { Description = "Reopen an ended run at its newest checkpoint." };
        var command = new Command("create", "Creates a run, or reopens one: its trainers can join then, with 'darkmatter trainer --silo URL --run NAME'.") { silo };
        recipe.AddTo(command, required: true);
        foreach (var option in (Option[])[run, trainers, min, max, dataset, ifMissing, resume])
        {
            command.Add(option);
        }
        command.SetAction(async (parsed, cancellation) =>
        {
            var resolved = recipe.Load(parsed, []);
            var options = resolved.Recipe;
            var where = parsed.GetValue(dataset) ?? options.Data.Dataset;
            var request = RunRequest.For(parsed.GetValue(run) ?? options.Name, resolved, Catalog.Load(where), parsed.GetValue(trainers) ?? options.Local.Trainers);
            request.MinWorld = parsed.GetValue(min) ?? Math.Min(options.Local.MinTrainers, request.World);
            request.MaxWorld = parsed.GetValue(max);
            request.TotalSteps = options.Train.Budget is null ? options.StepsFor(request.Samples) : 0;
            using var channel = GrpcChannel.ForAddress(SiloAddress.Parse(parsed.GetRequiredValue(silo)));
            var client = new Coordinator.CoordinatorClient(channel);
            try
            {
                if (parsed.GetValue(resume))
                {
                    var known = await client.GetRunAsync(new GetRunRequest { Run = request.Run }, deadline: DateTime.UtcNow + CallDeadline, cancellationToken: cancellation);
                    (request.Resume, request.StartStep, request.CheckpointPath) = (true, known.CheckpointStep, known.CheckpointPath);
                }
                var status = await client.CreateRunAsync(request, deadline: DateTime.UtcNow + CallDeadline, cancellationToken: cancellation);
                Console.WriteLine($"run '{status.Run}' waits for {status.World} trainer{(status.World == 1 ? "" : "s")}: darkmatter trainer --silo {parsed.GetRequiredValue(silo)} --run {status.Run} …");
                return ExitCode.Done;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.AlreadyExists && parsed.GetValue(ifMissing))
            {
                Console.WriteLine($"run '{request.Run}' exists already");
                return ExitCode.Done;
            }
            catch (RpcException e) when (RunRequest.IsRefusal(e))
            {
                throw new CommandException(ExitCode.BadRequest, $"run '{request.Run}': {e.Status.Detail}", e);
            }
            catch (RpcException e)
            {
                throw new CommandException(ExitCode.LostSilo, $"the silo at {parsed.GetRequiredValue(silo)} does not answer: {e.Status.Detail}", e);
            }
        });
        return command;
    }
}

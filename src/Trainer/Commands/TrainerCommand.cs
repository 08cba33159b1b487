using System.CommandLine;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Commands.Sessions;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter trainer</c>: one trainer of a run.</summary>
internal static class TrainerCommand
{
    public static Command Create()
    {
        var silo = new Option<string>("--silo") { Description = "The silo, as http://host:port.", HelpName = "URL", Required = true };
        var run = new Option<string>("--run") { Description = "The run to take part in.", HelpName = "NAME", Required = true };
        var name = new Option<string>("--name") { Description = "This trainer's name, unique in the run.", HelpName = "NAME", Required = true };
        var output = new Option<string>("--output", "-o") { Description = "The run's folder: checkpoints/ and steps.csv. Shared by the trainers of a run.", HelpName = "DIR", Required = true };
        var host = new Option<string>("--host") { Description = "The address other trainers reach this one at.", HelpName = "HOST", DefaultValueFactory = _ => "127.0.0.1" };
        var port = new Option<int>("--port") { Description = "The port other trainers reach this one at. 0: any free one.", HelpName = "PORT", DefaultValueFactory = _ => 0 };
        var advertise = new Option<string?>("--advertise") { Description = "What other trainers are told instead of --host and --port: the address of what stands in front of this one, such as a Kubernetes service.", HelpName = "HOST:PORT" };
        var threads = new Option<int>("--threads") { Description = "Threads to compute with. 0: one per core.", HelpName = "N", DefaultValueFactory = _ => 0 };
        var dataset = new Option<string?>("--dataset") { Description = "Where the dataset is on this machine, if not where the recipe says.", HelpName = "DIR" };
        var recordKeys = new Option<string?>("--record-keys") { Description = "Append the keys of each step's samples to this file.", HelpName = "FILE" };
        var trainFor = new Option<double?>("--train-for") { Description = "Seconds until training should be over; the number of steps follows from the measured speed.", HelpName = "SECONDS" };
        var childOf = ChildOption.Create();
        var command = new Command("trainer", """
            Takes part in a run: joins the silo, gets its rank, and trains with its peers. 'darkmatter pretrain' starts them on one machine; on a
            cluster each runs as a process of its own. Ends with 0 when the run is done; see 'darkmatter --help' for the other codes.
            """) { silo, run, name, output, host, port, advertise, threads, dataset, recordKeys, trainFor, childOf };
        command.SetAction(async (parsed, _) =>
        {
            using var parent = ParentWatch.Begin(parsed.GetValue(childOf));
            var options = new TrainerProcessOptions
            {
                Silo = SiloAddress.Parse(parsed.GetRequiredValue(silo)),
                Run = parsed.GetRequiredValue(run),
                Name = parsed.GetRequiredValue(name),
                RunFolder = Path.GetFullPath(parsed.GetRequiredValue(output)),
                Host = parsed.GetRequiredValue(host),
                Port = parsed.GetValue(port),
                Advertise = parsed.GetValue(advertise) is { } address ? PeerAddress.Parse(address) : null,
                Threads = parsed.GetValue(threads),
                Dataset = parsed.GetValue(dataset) is { } path ? Path.GetFullPath(path) : null,
                TrainFor = parsed.GetValue(trainFor) is { } seconds ? TimeSpan.FromSeconds(seconds) : null,
                RecordKeys = parsed.GetValue(recordKeys),
            };
            return await new TrainerProcess(options).RunAsync(parent.Orphaned, parent.Signalled);
        });
        return command;
    }
}

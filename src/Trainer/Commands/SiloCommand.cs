using System.CommandLine;
using DarkMatter.Silo;
using DarkMatter.Trainer.Commands.Local;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter silo</c>: the coordinator of runs, as a process of its own.</summary>
internal static class SiloCommand
{
    public static Command Create()
    {
        var port = new Option<int>("--port") { Description = "The port trainers and commands reach it at (gRPC over HTTP/2 without TLS). 0: any free one.", HelpName = "PORT", DefaultValueFactory = _ => 7400 };
        var httpPort = new Option<int>("--http-port") { Description = "The port of health and status pages: /health/live, /health/ready. 0: any free one.", HelpName = "PORT", DefaultValueFactory = _ => 7401 };
        var state = new Option<string>("--state") { Description = "The folder that keeps the state of runs across restarts.", HelpName = "DIR", Required = true };
        var childOf = ChildOption.Create();
        var command = new Command("silo", """
            Coordinates runs: membership, catalog, ledger of commits, checkpoints. Prints one line of JSON with its ports once it serves.
            """) { port, httpPort, state, childOf };
        command.SetAction(async (parsed, _) =>
        {
            using var parent = ParentWatch.Begin(parsed.GetValue(childOf));
            await SiloHost.RunAsync(
                new SiloOptions
                {
                    Port = parsed.GetValue(port),
                    HttpPort = parsed.GetValue(httpPort),
                    StateDirectory = Path.GetFullPath(parsed.GetRequiredValue(state)),
                },
                parent.Stop);
            return ExitCode.Done;
        });
        return command;
    }
}

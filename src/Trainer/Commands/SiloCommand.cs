using System.CommandLine;
using DarkMatter.Silo;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Recipes;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter silo</c>: the coordinator of runs, as a process of its own.</summary>
internal static class SiloCommand
{
    public static Command Create()
    {
        var port = new Option<int>("--port") { Description = "The port trainers and commands reach it at (gRPC over HTTP/2 without TLS). 0: any free one.", HelpName = "PORT", DefaultValueFactory = _ => 7400 };
        var httpPort = new Option<int>("--http-port") { Description = "The port of health and status pages: /health/live, /health/ready. 0: any free one.", HelpName = "PORT", DefaultValueFactory = _ => 7401 };
        var state = new Option<string>("--state") { Description = "The folder that keeps the state of runs across restarts.", HelpName = "DIR", Required = true };
        var bind = new Option<string>("--bind") { Description = "The address of this machine both ports listen on; 0.0.0.0 for all of them.", HelpName = "ADDRESS", DefaultValueFactory = _ => "127.0.0.1" };
        var returns = new Option<string>("--return-timeout") { Description = "How long trainers may take to come back after a restart of the silo.", HelpName = "TIME", DefaultValueFactory = _ => "10s" };
        var failure = new Option<string>("--failure-timeout") { Description = "Silence after which a trainer counts as lost.", HelpName = "TIME", DefaultValueFactory = _ => "2s" };
        var childOf = ChildOption.Create();
        var command = new Command("silo", """
            Coordinates runs: membership, catalog, ledger of commits, checkpoints. Prints one line of JSON with its ports once it serves.
            """) { port, httpPort, bind, state, failure, returns, childOf };
        command.SetAction(async (parsed, _) =>
        {
            using var parent = ParentWatch.Begin(parsed.GetValue(childOf));
            await SiloHost.RunAsync(
                new SiloOptions
                {
                    Port = parsed.GetValue(port),
                    HttpPort = parsed.GetValue(httpPort),
                    Bind = parsed.GetRequiredValue(bind),
                    FailureTimeout = Span(parsed, failure),
                    ReturnTimeout = Span(parsed, returns),
                    StateDirectory = Path.GetFullPath(parsed.GetRequiredValue(state)),
                },
                parent.Stop);
            return ExitCode.Done;
        });
        return command;
    }

    private static TimeSpan Span(ParseResult parsed, Option<string> option) => TimeSpans.TryParse(parsed.GetRequiredValue(option), out var span)
        ? span
        : throw new CommandException(ExitCode.BadRequest, $"{option.Name} is '{parsed.GetValue(option)}', but it is a span of time such as 2s");
}

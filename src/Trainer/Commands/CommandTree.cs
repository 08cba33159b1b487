using System.CommandLine;
using DarkMatter.Data;
using DarkMatter.Silo;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands;

/// <summary>The command line of <c>darkmatter</c>.</summary>
public static class CommandTree
{
    private const string Description = """
        Self-supervised pretraining on images: a silo coordinates, trainers train, and nothing is lost when one of them is.

        On one machine:
          darkmatter pretrain --recipe recipes/simclr-fashion-mnist.yaml    pack, train, evaluate, export
          darkmatter pretrain --recipe … --resume                           go on after a crash or a stop
        Exit codes: 0 done, 1 unforeseen failure, 2 bad request, 3 lost a trainer, 4 lost the silo, 5 stopped on request, 6 drained.
        """;

    /// <summary>Parses and runs a command line.</summary>
    /// <returns>One of <see cref="ExitCode"/>.</returns>
    public static async Task<int> RunAsync(string[] args)
    {
        var root = Build();
        Shorten(root, args);
        var parsed = root.Parse(args);
        var invocation = new InvocationConfiguration
        {
            EnableDefaultExceptionHandler = false,
            // Each command takes the signals itself: it has processes to end and checkpoints to write.
            ProcessTerminationTimeout = null,
        };
        try
        {
            if (parsed.Errors.Count > 0)
            {
                foreach (var error in parsed.Errors)
                {
                    await Console.Error.WriteLineAsync($"darkmatter: {error.Message}");
                }
                if (parsed.CommandResult.Command == root && args.Length > 0 && NearestName.Find(args[0], root.Subcommands.Select(command => command.Name)) is { } nearest)
                {
                    await Console.Error.WriteLineAsync($"Did you mean 'darkmatter {nearest}'?");
                }
                await Console.Error.WriteLineAsync($"See 'darkmatter {parsed.CommandResult.Command.Name switch { "darkmatter" => "", var name => name + " " }}--help'.");
                return ExitCode.BadRequest;
            }
            return await parsed.InvokeAsync(invocation);
        }
        catch (Exception e)
        {
            return Explain(e);
        }
    }

    /// <summary>The tree of commands.</summary>
    public static RootCommand Build()
    {
        var root = new RootCommand(Description)
        {
            PretrainCommand.Create(),
            PackCommand.Create(),
            EvaluateCommand.Create(),
            ExportCommand.Create(),
            RunsCommand.Create(),
            CheckpointsCommand.Create(),
            AuditCommand.Create(),
            EnergyCommand.Create(),
            CertifyCommand.Create(),
            SiloCommand.Create(),
            TrainerCommand.Create(),
        };
        return root;
    }

    /// <summary>Leaves the first sentence of every command's description that is not asked about: the list of commands stays a list.</summary>
    private static void Shorten(RootCommand root, string[] args)
    {
        foreach (var command in root.Subcommands.Where(command => !args.Contains(command.Name)))
        {
            var description = (command.Description ?? "").ReplaceLineEndings(" ");
            var end = description.IndexOf(". ", StringComparison.Ordinal);
            command.Description = end < 0 ? description : description[..(end + 1)];
        }
    }

    /// <summary>Turns an exception into a message for people and an exit code. The trace is shown only when asked for.</summary>
    private static int Explain(Exception e)
    {
        if (Environment.GetEnvironmentVariable("DARKMATTER_TRACE") == "1")
        {
            Console.Error.WriteLine(e);
        }
        while (e is AggregateException { InnerExceptions: [var only] })
        {
            e = only;
        }
        switch (e)
        {
            case CommandException command:
                Console.Error.WriteLine("darkmatter: " + command.Message);
                return command.ExitCode;
            case Sessions.SessionEndedException session:
                Console.Error.WriteLine("darkmatter: " + session.Message);
                return session.ExitCode;
            case RecipeException or DatasetException or CheckpointException or SafetensorsException or CheckpointBlobException or SiloStartException:
                Console.Error.WriteLine("darkmatter: " + e.Message);
                return ExitCode.BadRequest;
            case TrainingDivergedException or StateDivergedException:
                Console.Error.WriteLine("darkmatter: " + e.Message);
                return ExitCode.Failed;
            case OperationCanceledException:
                Console.Error.WriteLine("darkmatter: stopped");
                return ExitCode.Stopped;
            default:
                Console.Error.WriteLine($"darkmatter: unforeseen failure: {e.GetType().Name}: {e.Message}");
                Console.Error.WriteLine("Set DARKMATTER_TRACE=1 to see where it happened.");
                return ExitCode.Failed;
        }
    }
}

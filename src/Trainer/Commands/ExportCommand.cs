using System.CommandLine;
using DarkMatter.Trainer.Commands.Local;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter export</c>: a checkpoint's backbone for others.</summary>
internal static class ExportCommand
{
    public static Command Create()
    {
        var weights = new Option<string>("--weights", "-w")
        {
            Description = "A checkpoint's folder, or a run's folder (its newest checkpoint).",
            HelpName = "PATH",
            Required = true,
        };
        var output = new Option<string>("--output", "-o") { Description = "The file to write; ends in .safetensors.", HelpName = "FILE", Required = true };
        var command = new Command("export", """
            Writes the trained backbone as safetensors with torchvision's key names, and a JSON file beside it that says how to load it.
            """) { weights, output };
        command.Validators.Add(result =>
        {
            if (result.GetValue(output) is { } path && !path.EndsWith(".safetensors", StringComparison.Ordinal))
            {
                result.AddError($"--output is '{path}', but the file's name ends in .safetensors");
            }
        });
        command.SetAction(async (parsed, cancellation) =>
        {
            using var found = await TrainedWeights.FindAsync(parsed.GetRequiredValue(weights), Output.OfProcess().Line, cancellation);
            var path = parsed.GetRequiredValue(output);
            Finishing.Export(found.Recipe(null, []).Recipe, found.Files, path);
            Console.WriteLine(path);
            return ExitCode.Done;
        });
        return command;
    }
}

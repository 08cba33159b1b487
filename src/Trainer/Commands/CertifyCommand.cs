using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using DarkMatter.Trainer.Certificates;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter certify</c>: measures that W ranks train as one.</summary>
internal static class CertifyCommand
{
    public static Command Create()
    {
        var methods = new Option<string>("--method", "-m") { Description = "Methods, with commas between them.", HelpName = "NAMES", DefaultValueFactory = _ => "all" };
        var worlds = new Option<string>("--world", "-w") { Description = "Numbers of ranks that are compared with one.", HelpName = "LIST", DefaultValueFactory = _ => "1,2,3,4" };
        var precisions = new Option<string>("--precision") { Description = "float64, float32 or both.", HelpName = "LIST", DefaultValueFactory = _ => "float64,float32" };
        var steps = new Option<int>("--steps") { Description = "Updates that are compared.", HelpName = "N", DefaultValueFactory = _ => 20 };
        var json = new Option<bool>("--json") { Description = "Print the rows as JSON." };
        var output = new Option<string?>("--output", "-o") { Description = "Write the table, the machine and the commit to this Markdown file as well.", HelpName = "FILE" };
        var command = new Command("certify", """
            Measures that any number of trainers trains as one. For every method, ranks that speak gRPC over loopback train on one global batch, dealt
            unevenly where it does not divide; of every update the loss, each parameter's gradient and the whole state after it are compared with those of one
            rank. Exit code 1 when an error is above 1e-9 (float64) or 1e-5 (float32).
            """) { methods, worlds, precisions, steps, json, output };
        command.SetAction(async (parsed, cancellation) =>
        {
            var cases = Methods(parsed.GetRequiredValue(methods)).SelectMany(CertificateCase.Of).ToList();
            var options = new CertificateOptions
            {
                Worlds = [.. Parts(parsed.GetRequiredValue(worlds)).Select(World)],
                Precisions = [.. Parts(parsed.GetRequiredValue(precisions)).Select(Precision)],
                Steps = parsed.GetValue(steps),
            };
            if (options.Problems().ToList() is { Count: > 0 } problems)
                throw new CommandException(ExitCode.BadRequest, "certify: " + string.Join("; ", problems));
            var clock = Stopwatch.StartNew();
            // Every rank is a thread of its own already.
            TorchStack.Current.SetThreads(1);
            var (rows, asJson) = (new List<CertificateRow>(), parsed.GetValue(json));
            if (!asJson)
                Console.WriteLine(CertificateText.Header);
            foreach (var certified in cases)
            {
                cancellation.ThrowIfCancellationRequested();
                rows.AddRange(await Certificate.MeasureAsync(certified, options, row =>
                {
                    if (!asJson)
                        Console.WriteLine(CertificateText.Line(row));
                }));
            }

            if (asJson)
                Console.WriteLine(JsonSerializer.Serialize(rows, CertificateJson.Default.ListCertificateRow));
            if (parsed.GetValue(output) is { } file)
                await File.WriteAllTextAsync(file, CertificateText.Page(rows, options.Steps, clock.Elapsed), cancellation);
            var failures = rows.SelectMany(row => row.Failures).ToList();
            foreach (var failure in failures)
                await Console.Error.WriteLineAsync("darkmatter: " + failure);
            if (!asJson)
                Console.WriteLine(CertificateText.Verdict(rows));
            return failures.Count == 0 ? ExitCode.Done : ExitCode.Failed;
        });
        return command;
    }

    private static IReadOnlyList<string> Methods(string given)
    {
        if (given == "all")
            return MethodRegistry.Names;
        var names = Parts(given).Distinct().ToList();
        if (names.Count == 0)
            throw new CommandException(ExitCode.BadRequest, $"--method: '{given}' names no method; give all, or some of {string.Join(", ", MethodRegistry.Names)}");
        foreach (var unknown in names.Where(name => !MethodRegistry.Names.Contains(name)))
        {
            var nearest = NearestName.Find(unknown, MethodRegistry.Names);
            throw new CommandException(ExitCode.BadRequest, $"--method: there is no method '{unknown}'; {(nearest is null ? $"known are {string.Join(", ", MethodRegistry.Names)}" : $"did you mean {nearest}?")}");
        }

        return names;
    }

    private static int World(string text) => int.TryParse(text, CultureInfo.InvariantCulture, out var world)
        ? world
        : throw new CommandException(ExitCode.BadRequest, $"--world: '{text}' is not a number of ranks; give a list such as 1,2,3,4");

    private static Precision Precision(string text) => text switch
    {
        "float64" => Training.Precision.Float64,
        "float32" => Training.Precision.Float32,
        _ => throw new CommandException(ExitCode.BadRequest, $"--precision: '{text}' is not certified; it is float64 or float32"),
    };

    private static string[] Parts(string list) => list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
}

using System.Diagnostics;
using DarkMatter.Trainer.Checkpoints;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Interop;

/// <summary>Asks independent Python code for its answer: tests/Interop, run by the system's python3 with Debian's python3-torch.</summary>
internal static class Peer
{
    private const string Python = "/usr/bin/python3";
    private static readonly TimeSpan Deadline = TimeSpan.FromMinutes(5);

    /// <summary>The folder tests/Interop of this checkout.</summary>
    public static string Folder { get; } = Path.Combine(Root(AppContext.BaseDirectory), "tests", "Interop");

    /// <summary>Runs a command of peers.py; tensors and options in, tensors out.</summary>
    public static Dictionary<string, Tensor> Ask(string command, IEnumerable<(string Name, Tensor Tensor)> tensors, params (string Key, string Value)[] options)
    {
        var folder = Directory.CreateTempSubdirectory("peer").FullName;
        try
        {
            var (input, output) = (Path.Combine(folder, "in.safetensors"), Path.Combine(folder, "out.safetensors"));
            SafetensorsWriter.Write(input, new TensorSet(tensors).Capture(), options.ToDictionary(o => o.Key, o => o.Value));
            Run(Path.Combine(Folder, "peers.py"), command, input, output);
            return Read(output);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>All tensors of a file.</summary>
    public static Dictionary<string, Tensor> Read(string path)
    {
        using var reader = SafetensorsReader.Open(path);
        return reader.Tensors.ToDictionary(t => t.Name, t =>
        {
            var tensor = empty([.. t.Shape], dtype: t.Type switch
            {
                SafetensorsType.Float32 => ScalarType.Float32,
                SafetensorsType.Float64 => ScalarType.Float64,
                SafetensorsType.Int64 => ScalarType.Int64,
                _ => throw new InvalidDataException($"{t.Name} is {t.Type}"),
            });
            reader.Read(t.Name, tensor.bytes);
            return tensor;
        });
    }

    /// <summary>Runs Python and returns what it printed.</summary>
    public static string Run(params string[] arguments)
    {
        var start = new ProcessStartInfo(Python, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["PYTHONPATH"] = Folder;
        start.Environment["PYTHONDONTWRITEBYTECODE"] = "1";
        using var process = Process.Start(start) ?? throw new InvalidOperationException($"{Python} did not start; eng/setup --test installs it");
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        if (!process.WaitForExit(Deadline))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{string.Join(' ', arguments)} took longer than {Deadline}");
        }

        process.ExitCode.ShouldBe(0, $"{string.Join(' ', arguments)}: {error.Result}");
        return output.Result;
    }

    private static string Root(string folder) => File.Exists(Path.Combine(folder, "Distributed.sln"))
        ? folder
        : Root(Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("Distributed.sln is not above the tests"));
}

using System.Diagnostics;
using System.Globalization;

namespace DarkMatter.Trainer.Tests.Checkpoints;

/// <summary>A process of Microsoft's Azure Storage emulator, which a test may kill and start again on the same data and port.</summary>
public sealed class Azurite : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _data = Directory.CreateTempSubdirectory("azurite-").FullName;
    private Process? _process;

    /// <summary>Where it listens; 0 before the first start.</summary>
    public int Port { get; private set; }

    /// <summary>The emulator's well-known account.</summary>
    public string ConnectionString =>
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
        + string.Create(CultureInfo.InvariantCulture, $"BlobEndpoint=http://127.0.0.1:{Port}/devstoreaccount1;");

    public static async Task<Azurite> StartAsync()
    {
        var azurite = new Azurite();
        await azurite.StartAgainAsync();
        return azurite;
    }

    /// <summary>Starts it, on the port and the data it had before.</summary>
    public async Task StartAgainAsync()
    {
        var main = Path.Combine(Root(), "artifacts", "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js");
        if (!File.Exists(main))
            throw new InvalidOperationException($"{main} is missing: run eng/setup --test.");
        var start = new ProcessStartInfo("node",
            [main, "--blobPort", Port.ToString(CultureInfo.InvariantCulture), "--location", _data, "--skipApiVersionCheck", "--disableTelemetry", "--silent"])
        {
            RedirectStandardOutput = true,
        };
        _process = Process.Start(start)!;
        using var limit = new CancellationTokenSource(Patience);
        const string listens = "successfully listens on http://127.0.0.1:";
        while (await _process.StandardOutput.ReadLineAsync(limit.Token) is { } line)
        {
            if (line.IndexOf(listens, StringComparison.Ordinal) is var at and >= 0)
            {
                Port = int.Parse(line[(at + listens.Length)..], CultureInfo.InvariantCulture);
                _ = _process.StandardOutput.ReadToEndAsync(CancellationToken.None);
                return;
            }
        }

        throw new InvalidOperationException("Azurite ended before it listened.");
    }

    /// <summary>Waits until a blob would outlive a kill: the emulator writes its table of blobs to the disk every few seconds.</summary>
    public async Task SettleAsync(string blob)
    {
        using var limit = new CancellationTokenSource(Patience);
        var table = Path.Combine(_data, "__azurite_db_blob__.json");
        while (!File.Exists(table) || !(await File.ReadAllTextAsync(table, limit.Token)).Contains(blob, StringComparison.Ordinal))
            await Task.Delay(100, limit.Token);
    }

    /// <summary>Sends it a signal: STOP makes it hang, CONT go on.</summary>
    public void Signal(string signal)
    {
        using var kill = Process.Start("/bin/kill", ["-s", signal, _process!.Id.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit(Patience).ShouldBeTrue();
        kill.ExitCode.ShouldBe(0);
    }

    /// <summary>SIGKILL.</summary>
    public void Kill()
    {
        _process!.Kill(entireProcessTree: true);
        _process.WaitForExit(Patience);
    }

    public ValueTask DisposeAsync()
    {
        Kill();
        _process!.Dispose();
        Directory.Delete(_data, recursive: true);
        return ValueTask.CompletedTask;
    }

    private static string Root()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Distributed.sln")))
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("Distributed.sln is not above the tests' folder");
        return folder;
    }
}

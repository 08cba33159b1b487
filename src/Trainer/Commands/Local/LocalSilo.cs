using System.Globalization;
using System.Text.Json;
using DarkMatter.Protocol;
using Grpc.Net.Client;

namespace DarkMatter.Trainer.Commands.Local;

/// <summary>The silo of a local run, as a child process with a client to it.</summary>
internal sealed class LocalSilo : IAsyncDisposable
{
    private static readonly TimeSpan StartDeadline = TimeSpan.FromSeconds(60);

    // A death is seen at once, by its process; silence only tells of a hang, and a busy laptop is silent for seconds.
    private const string FailureTimeout = "5s";

    private readonly GrpcChannel channel;

    private LocalSilo(ChildProcess process, string address, string webAddress)
    {
        Process = process;
        Address = address;
        WebAddress = webAddress;
        channel = GrpcChannel.ForAddress(address);
        Client = new Coordinator.CoordinatorClient(channel);
    }

    /// <summary>Its process, the newest one.</summary>
    public ChildProcess Process { get; private set; }

    /// <summary>Where trainers and commands reach it: <c>http://127.0.0.1:port</c>.</summary>
    public string Address { get; }

    /// <summary>Health and status pages.</summary>
    public string WebAddress { get; private set; }

    /// <summary>Its service.</summary>
    public Coordinator.CoordinatorClient Client { get; }

    /// <summary>Starts it and waits until it serves.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="port">Its port; 0 for any free one.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="CommandException">It ended or was not ready in time; the message says why.</exception>
    public static async Task<LocalSilo> StartAsync(RunFolder folder, int port, CancellationToken cancellationToken)
    {
        var (process, grpc, http) = await LaunchAsync(folder, port, cancellationToken);
        return new LocalSilo(process, $"http://127.0.0.1:{grpc}", $"http://127.0.0.1:{http}");
    }

    /// <summary>Starts it anew after it died, on the same port and state: trainers find it again.</summary>
    /// <exception cref="CommandException">It ended or was not ready in time; the message says why.</exception>
    public async Task RestartAsync(RunFolder folder, CancellationToken cancellationToken)
    {
        var (process, _, http) = await LaunchAsync(folder, new Uri(Address).Port, cancellationToken);
        await Process.DisposeAsync();
        (Process, WebAddress) = (process, $"http://127.0.0.1:{http}");
    }

    /// <summary>Closes the client and ends the process.</summary>
    public async ValueTask DisposeAsync()
    {
        channel.Dispose();
        await Process.DisposeAsync();
    }

    private static async Task<(ChildProcess Process, int Grpc, int Http)> LaunchAsync(RunFolder folder, int port, CancellationToken cancellationToken)
    {
        var process = ChildProcess.Start(
            "silo",
            [
                "silo", "--port", port.ToString(CultureInfo.InvariantCulture), "--http-port", "0", "--state", folder.SiloState,
                "--failure-timeout", FailureTimeout, "--child-of", folder.Path,
            ],
            new Dictionary<string, string> { ["DOTNET_gcServer"] = "0" },
            folder.LogOf("silo"));
        try
        {
            var line = await process.ReadLineAsync(text => text.StartsWith('{'), StartDeadline, cancellationToken);
            if (line is null)
            {
                var exit = await process.Exited;
                var words = string.Join('\n', process.LastLines.TakeLast(5));
                throw new CommandException(exit.Code == ExitCode.BadRequest ? ExitCode.BadRequest : ExitCode.LostSilo,
                    exit.Code == ExitCode.BadRequest && words.Length > 0 ? words : $"the silo did not start: {exit}.\n{words}\nIts log is {process.LogPath}");
            }
            using var ready = JsonDocument.Parse(line);
            var grpc = ready.RootElement.GetProperty("port").GetInt32();
            var http = ready.RootElement.TryGetProperty("http_port", out var value) ? value.GetInt32() : 0;
            return (process, grpc, http);
        }
        catch (TimeoutException e)
        {
            await process.DisposeAsync();
            throw new CommandException(ExitCode.LostSilo, e.Message, e);
        }
        catch
        {
            await process.DisposeAsync();
            throw;
        }
    }
}

using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Commands;
using DarkMatter.Trainer.Commands.Local;
using Grpc.Net.Client;

namespace DarkMatter.Recovery.Bench;

/// <summary>A silo and trainers as processes, started as a cluster would: nobody supervises them.</summary>
internal sealed class Cluster(string program, string folder, string recipe, int trainers) : IAsyncDisposable
{
    public const string Run = "recovery";
    private static readonly TimeSpan StartDeadline = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan CallDeadline = TimeSpan.FromSeconds(10);

    private readonly List<ChildProcess> processes = [];
    private GrpcChannel? channel;
    private Coordinator.CoordinatorClient? client;
    private int started;

    public string Silo { get; private set; } = "";

    public async Task StartAsync(IReadOnlyList<string> settings)
    {
        var silo = Launch("silo", ["silo", "--port", "0", "--http-port", "0", "--state", Path.Combine(folder, "state")]);
        var line = await silo.ReadLineAsync(text => text.StartsWith('{'), StartDeadline, CancellationToken.None) ?? throw Broken(silo);
        using var ready = JsonDocument.Parse(line);
        Silo = $"http://127.0.0.1:{ready.RootElement.GetProperty("port").GetInt32()}";
        channel = GrpcChannel.ForAddress(Silo);
        client = new Coordinator.CoordinatorClient(channel);
        List<string> create = ["runs", "create", "--silo", Silo, "--recipe", recipe, "--run", Run, "--trainers", trainers.ToString(CultureInfo.InvariantCulture)];
        await RunAsync([.. create, .. settings.SelectMany(setting => new[] { "--set", setting })]);
        for (var i = 0; i < trainers; i++)
        {
            StartTrainer();
        }
    }

    /// <summary>Starts one more trainer under a new name; returns its name.</summary>
    public string StartTrainer()
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"trainer-{started++}");
        Launch(name, ["trainer", "--silo", Silo, "--run", Run, "--name", name, "--output", Path.Combine(folder, "run"), "--threads", "1"]);
        return name;
    }

    public async Task<RunStatus> StatusAsync() =>
        await client!.GetRunAsync(new GetRunRequest { Run = Run }, deadline: DateTime.UtcNow + CallDeadline);

    public async Task StopAsync() =>
        await client!.StopRunAsync(new StopRunRequest { Run = Run, Reason = "the benchmark is over" }, deadline: DateTime.UtcNow + CallDeadline);

    /// <summary>Polls the silo until a status fits; throws with the newest status when none does in time.</summary>
    public async Task<RunStatus> UntilAsync(Func<RunStatus, bool> fits, string what, TimeSpan deadline)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            var status = await StatusAsync();
            if (fits(status))
            {
                return status;
            }
            if (clock.Elapsed > deadline || status.State is RunState.Failed or RunState.Completed)
            {
                throw new InvalidOperationException($"{what} did not happen within {deadline.TotalSeconds:0} s: {status.State}, step {status.Step}, generation {status.Generation}. {status.Reason} {status.Notice}");
            }
            await Task.Delay(10);
        }
    }

    public static void Signal(string signal, int process)
    {
        using var kill = Process.Start("kill", ["-" + signal, process.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }

    /// <summary>Runs a command to its end; its output.</summary>
    public async Task<(int Code, string Output)> RunAsync(IReadOnlyList<string> arguments)
    {
        var info = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(info)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        return process.ExitCode == ExitCode.BadRequest
            ? throw new InvalidOperationException($"darkmatter {string.Join(' ', arguments)}: {await error}")
            : (process.ExitCode, await output + await error);
    }

    public async ValueTask DisposeAsync()
    {
        channel?.Dispose();
        await Task.WhenAll(processes.Select(async process =>
        {
            await process.StopAsync(TimeSpan.FromSeconds(1));
            await process.DisposeAsync();
        }));
    }

    private ChildProcess Launch(string name, IEnumerable<string> arguments)
    {
        var environment = new Dictionary<string, string> { ["OMP_NUM_THREADS"] = "1", ["OPENBLAS_NUM_THREADS"] = "1", ["DOTNET_gcServer"] = "0" };
        var process = ChildProcess.Start(name, program, [.. arguments], environment, Path.Combine(folder, name + ".log"));
        processes.Add(process);
        return process;
    }

    private static InvalidOperationException Broken(ChildProcess process) => new($"{process.Name} did not start: {string.Join('\n', process.LastLines)}");
}

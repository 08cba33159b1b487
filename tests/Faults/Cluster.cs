using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using DarkMatter.EndToEnd.Tests;
using DarkMatter.Protocol;
using Grpc.Core;
using Grpc.Net.Client;

namespace DarkMatter.Faults;

/// <summary>A silo and trainers as real processes that train one run on the workshop's images, until the test has seen enough.</summary>
internal sealed class Cluster : IAsyncDisposable
{
    private static readonly TimeSpan CallDeadline = TimeSpan.FromSeconds(5);

    private readonly Workshop _workshop;
    private readonly GrpcChannel _channel;
    private readonly Coordinator.CoordinatorClient _client;
    private readonly List<Command> _all = [];
    private string[] _settings = [];

    public Cluster(Workshop workshop, string about, string host = "127.0.0.1")
    {
        _workshop = workshop;
        Port = FreePort();
        Run = workshop.NewRun(about);
        Url = $"http://{host}:{Port}";
        _channel = GrpcChannel.ForAddress(Url);
        _client = new Coordinator.CoordinatorClient(_channel);
    }

    public string Run { get; }

    /// <summary>The silo's port.</summary>
    public int Port { get; }

    /// <summary>The silo's address.</summary>
    public string Url { get; }

    /// <summary>What the run leaves on the disk.</summary>
    public string Folder => _workshop.In("out", Run);

    /// <summary>What is written before a process's command, by its name: where and how it runs.</summary>
    public Func<string, string> Before { get; init; } = _ => "";

    /// <summary>More options of a trainer, by its name.</summary>
    public Func<string, string> With { get; init; } = _ => "";

    /// <summary>Where a trainer finds the silo, if not at <see cref="Url"/>.</summary>
    public Func<string, string>? SiloFor { get; init; }

    public Command Silo { get; private set; } = null!;

    public Dictionary<string, Command> Trainers { get; } = [];

    /// <summary>Starts everything and waits until it trains.</summary>
    /// <param name="trainers">Trainers that it begins with.</param>
    /// <param name="more">More options of <c>runs create</c>.</param>
    public async Task StartAsync(int trainers, params string[] more)
    {
        await BeginAsync(trainers, more);
        await UntilAsync(status => status.Step >= 20, "20 steps");
    }

    /// <summary>Starts everything.</summary>
    /// <param name="trainers">Trainers that it begins with.</param>
    /// <param name="more">More options of <c>runs create</c>.</param>
    public async Task BeginAsync(int trainers, params string[] more)
    {
        await _workshop.PackAsync();
        await StartSiloAsync();
        _settings =
        [
            "--trainers", $"{trainers}", "--set", "train.max_steps=1000000", "--set", "train.epochs=1000000", "--set", "train.checkpoint_every=50", .. more,
        ];
        (await CreateAsync()).ShouldEndWith(0);
        for (var i = 0; i < trainers; i++)
            StartTrainer($"trainer-{i}");
    }

    /// <summary>Tells the silo of the run, as a person would.</summary>
    public Task<Finished> CreateAsync(params string[] more) =>
        Command.RunAsync(_workshop.Path, ["runs", "create", "--silo", Url, "--recipe", "small.yaml", "--run", Run, .. _settings, .. more]);

    /// <summary>Starts the silo, or starts it again on its port with its state.</summary>
    public async Task StartSiloAsync()
    {
        var program = Path.Combine(Repository.Root, "artifacts", "bin", "Silo", "release", "darkmatter-silo");
        Silo = Start("silo", string.Create(
            CultureInfo.InvariantCulture, $"{program} --port {Port} --http-port 0 --bind 0.0.0.0 --state {Path.Combine(Folder, "silo")}"));
        await Silo.UntilAsync(() => Silo.Output.Contains("\"ready\"", StringComparison.Ordinal), "the silo is ready");
    }

    /// <summary>Starts a trainer.</summary>
    public Command StartTrainer(string name) => Trainers[name] = Start(
        name, $"{Command.Executable} trainer --silo {SiloFor?.Invoke(name) ?? Url} --run {Run} --name {name} --output {Folder} --threads 1 {With(name)}");

    public async Task<RunStatus> StatusAsync() => await _client.GetRunAsync(new GetRunRequest { Run = Run }, deadline: DateTime.UtcNow + CallDeadline);

    public async Task<Ledger> LedgerAsync() => await _client.GetLedgerAsync(new GetRunRequest { Run = Run }, deadline: DateTime.UtcNow + CallDeadline);

    /// <summary>Waits for something to become true of the run. A silo that does not answer is asked again.</summary>
    public async Task<RunStatus> UntilAsync(Func<RunStatus, bool> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        var (last, wasLive) = ("the silo did not answer", false);
        while (clock.Elapsed < Command.Deadline)
        {
            try
            {
                var status = await StatusAsync();
                if (condition(status))
                    return status;
                last = $"{status.State}, generation {status.Generation}, step {status.Step}, {string.Join(' ', status.Members.Select(m => $"{m.Name}:{m.Rank}"))}: {status.Reason}";
                if (IsOver(status) && wasLive)
                    throw new InvalidOperationException($"the run ended before {what}: {last}\n{Story()}");
                wasLive |= !IsOver(status);
            }
            catch (RpcException e)
            {
                last = e.Status.Detail;
            }

            await Task.Delay(50);
        }

        throw new TimeoutException($"no {what} within {Command.Deadline.TotalSeconds:0} s; last seen: {last}\n{Story()}");
    }

    /// <summary>Waits until the run is over.</summary>
    public Task<RunStatus> UntilOverAsync() => UntilAsync(IsOver, "end of the run");

    /// <summary>Steps in the log that rank 0 writes, whether the silo lives or not.</summary>
    public int StepsLogged() => File.ReadLines(Path.Combine(Folder, "steps.csv")).Count() - 1;

    /// <summary>Waits until so many more steps are committed.</summary>
    public Task<RunStatus> UntilStepAsync(long after) => UntilAsync(status => status.Step > after, $"step after {after}");

    /// <summary>Waits until this many trainers train in a generation after the one given, beyond the step given, and made steps there.</summary>
    public async Task<RunStatus> UntilTrainsAsync(int world, long afterGeneration, long afterStep)
    {
        bool Trains(RunStatus status) => status.State == RunState.Training && status.Generation > afterGeneration && Ranks(status) == world;
        var formed = await UntilAsync(Trains, $"generation of {world} trainers after {afterGeneration}");
        var step = Math.Max(formed.Step, afterStep) + 5;
        return await UntilAsync(status => Trains(status) && status.Step > step, $"step after {step} of {world} trainers");
    }

    /// <summary>Stops the run and has the ledger's verdict: proven.</summary>
    public async Task<JsonElement> ShouldBeProvenAsync()
    {
        await _client.StopRunAsync(new StopRunRequest { Run = Run, Reason = "seen enough" }, deadline: DateTime.UtcNow + CallDeadline);
        (await UntilOverAsync()).State.ShouldBe(RunState.Stopped);
        var verdict = await AuditAsync();
        verdict.GetProperty("finished_epochs").GetInt64().ShouldBeGreaterThan(1);
        return verdict;
    }

    /// <summary>The ledger's verdict: proven.</summary>
    public async Task<JsonElement> AuditAsync()
    {
        var audit = (await Command.RunAsync(_workshop.Path, "audit", Run, "--silo", Url, "--json")).ShouldEndWith(0);
        var verdict = JsonDocument.Parse(audit.Output).RootElement;
        verdict.GetProperty("verdict").GetString().ShouldBe("proven");
        return verdict;
    }

    /// <summary>The same, and no step was trained twice.</summary>
    public async Task ShouldBeProvenWithoutRollbackAsync() => (await ShouldBeProvenAsync()).GetProperty("rolled_back_steps").GetInt64().ShouldBe(0);

    public static int Ranks(RunStatus status) => status.Members.Count(member => member.Rank >= 0);

    public static bool IsOver(RunStatus status) => status.State is RunState.Completed or RunState.Failed or RunState.Stopped;

    /// <summary>A port that nobody listens on.</summary>
    public static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var command in _all)
            await command.DisposeAsync();
        _channel.Dispose();
    }

    private Command Start(string name, string line)
    {
        var command = Command.StartShell(_workshop.Path, Before(name) + line);
        _all.Add(command);
        return command;
    }

    private string Story() => string.Join('\n', Trainers.Select(t => $"--- {t.Key}\n{Tail(t.Value.Output + t.Value.Error)}").Append($"--- silo\n{Tail(Silo.Error)}"));

    private static string Tail(string text) => string.Join('\n', text.Split('\n').TakeLast(30));
}

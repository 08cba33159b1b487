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
    private readonly string _host;
    private readonly int _port;
    private readonly GrpcChannel _channel;
    private readonly Coordinator.CoordinatorClient _client;
    private readonly List<Command> _all = [];

    private Cluster(Workshop workshop, string about, string host)
    {
        _workshop = workshop;
        _host = host;
        _port = FreePort();
        Run = workshop.NewRun(about);
        _channel = GrpcChannel.ForAddress($"http://{host}:{_port}");
        _client = new Coordinator.CoordinatorClient(_channel);
    }

    public string Run { get; }

    public string Folder => _workshop.In("out", Run);

    public Command Silo { get; private set; } = null!;

    public Dictionary<string, Command> Trainers { get; } = [];

    public string Url => $"http://{_host}:{_port}";

    /// <summary>Starts everything and waits until it trains.</summary>
    /// <param name="workshop">Has the images and the recipe.</param>
    /// <param name="about">What the run is for.</param>
    /// <param name="trainers">Trainers that it begins with.</param>
    /// <param name="network">Machines of their own for the trainers; null: all on this one.</param>
    /// <param name="more">More options of <c>runs create</c>.</param>
    public static async Task<Cluster> StartAsync(Workshop workshop, string about, int trainers, Namespaces? network = null, params string[] more)
    {
        var cluster = new Cluster(workshop, about, network?.SiloAddress ?? "127.0.0.1");
        try
        {
            (await Command.RunAsync(workshop.Path, "pack", "--recipe", "small.yaml")).ShouldEndWith(0);
            await cluster.StartSiloAsync();
            (await Command.RunAsync(workshop.Path,
            [
                "runs", "create", "--silo", cluster.Url, "--recipe", "small.yaml", "--run", cluster.Run, "--trainers", $"{trainers}",
                "--set", "train.max_steps=1000000", "--set", "train.epochs=1000000", "--set", "train.checkpoint_every=50", .. more,
            ])).ShouldEndWith(0);
            for (var i = 0; i < trainers; i++)
                cluster.StartTrainer($"trainer-{i}", network);
            await cluster.UntilAsync(status => status.Step >= 20, "20 steps");
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts the silo, or starts it again on its port with its state.</summary>
    public async Task StartSiloAsync()
    {
        var program = Path.Combine(Repository.Root, "artifacts", "bin", "Silo", "release", "darkmatter-silo");
        Silo = Command.StartShell(_workshop.Path, string.Create(
            CultureInfo.InvariantCulture, $"{program} --port {_port} --http-port 0 --bind 0.0.0.0 --state {Path.Combine(Folder, "silo")}"));
        _all.Add(Silo);
        await Silo.UntilAsync(() => Silo.Output.Contains("\"ready\"", StringComparison.Ordinal), "the silo is ready");
    }

    /// <summary>Starts a trainer, on its own machine if there is a network.</summary>
    public Command StartTrainer(string name, Namespaces? network = null)
    {
        var machine = network?.Machine(name);
        var trainer = Command.StartShell(
            _workshop.Path,
            $"{machine?.Prefix}{Command.Executable} trainer --silo {Url} --run {Run} --name {name} --output {Folder} --threads 1 --host {machine?.Address ?? "127.0.0.1"}");
        _all.Add(trainer);
        Trainers[name] = trainer;
        return trainer;
    }

    public async Task<RunStatus> StatusAsync() => await _client.GetRunAsync(new GetRunRequest { Run = Run }, deadline: DateTime.UtcNow + CallDeadline);

    /// <summary>Waits for something to become true of the run. A silo that does not answer is asked again.</summary>
    public async Task<RunStatus> UntilAsync(Func<RunStatus, bool> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        var last = "the silo did not answer";
        while (clock.Elapsed < Command.Deadline)
        {
            try
            {
                var status = await StatusAsync();
                if (condition(status))
                    return status;
                last = $"{status.State}, generation {status.Generation}, step {status.Step}, {string.Join(' ', status.Members.Select(m => $"{m.Name}:{m.Rank}"))}: {status.Reason}";
            }
            catch (RpcException e)
            {
                last = e.Status.Detail;
            }

            await Task.Delay(50);
        }

        throw new TimeoutException($"no {what} within {Command.Deadline.TotalSeconds:0} s; last seen: {last}\n{Story()}");
    }

    /// <summary>Waits until this many trainers train in a generation after the one given, and made steps there.</summary>
    public Task<RunStatus> UntilTrainsAsync(int world, long afterGeneration, long afterStep) => UntilAsync(
        status => status.State == RunState.Training && status.Generation > afterGeneration && status.Step > afterStep + 10
            && status.Members.Count(member => member.Rank >= 0) == world,
        $"{world} trainers in a generation after {afterGeneration} beyond step {afterStep + 10}");

    /// <summary>Stops the run and has the ledger's verdict: proven, and so many steps rolled back.</summary>
    public async Task<JsonElement> ShouldBeProvenAsync()
    {
        await _client.StopRunAsync(new StopRunRequest { Run = Run, Reason = "seen enough" }, deadline: DateTime.UtcNow + CallDeadline);
        await UntilAsync(status => status.State == RunState.Stopped, "end of the run");
        var audit = (await Command.RunAsync(_workshop.Path, "audit", Run, "--silo", Url, "--json")).ShouldEndWith(0);
        var verdict = JsonDocument.Parse(audit.Output).RootElement;
        verdict.GetProperty("verdict").GetString().ShouldBe("proven");
        verdict.GetProperty("finished_epochs").GetInt64().ShouldBeGreaterThan(1);
        return verdict;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var command in _all)
            await command.DisposeAsync();
        _channel.Dispose();
    }

    private string Story() => string.Join('\n', Trainers.Select(t => $"--- {t.Key}\n{Tail(t.Value.Output + t.Value.Error)}").Append($"--- silo\n{Tail(Silo.Error)}"));

    private static string Tail(string text) => string.Join('\n', text.Split('\n').TakeLast(30));

    private static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }
}

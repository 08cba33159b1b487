using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace DarkMatter.Portable.Grpc.Tests.Interop;

/// <summary>The process of peer.js, shared by the tests that talk to it.</summary>
public sealed class NodePeer : IAsyncLifetime
{
    private readonly ConcurrentDictionary<int, TaskCompletionSource<JsonObject>> _waiting = new();
    private readonly TaskCompletionSource<JsonObject> _ports = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Process? _process;
    private int _lastId;

    /// <summary>Where its @grpc/grpc-js server listens.</summary>
    public string Address { get; private set; } = "";

    /// <summary>Where its server of arbitrary HTTP/2 answers listens.</summary>
    public string RawAddress { get; private set; } = "";

    public async ValueTask InitializeAsync()
    {
        var root = FindRoot();
        var modules = Path.Combine(root, "artifacts", "node", "node_modules");
        if (!Directory.Exists(Path.Combine(modules, "@grpc", "grpc-js")))
        {
            throw new InvalidOperationException($"@grpc/grpc-js is not installed in {modules}: run eng/setup --test.");
        }

        var tests = Path.Combine(root, "tests", "Portable.Grpc.Tests");
        var start = new ProcessStartInfo("node", [Path.Combine(tests, "Interop", "peer.js"), Path.Combine(tests, "echo.proto")])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            Environment = { ["NODE_PATH"] = modules },
        };
        _process = Process.Start(start) ?? throw new InvalidOperationException("'node' did not start: run eng/setup --test.");
        _ = ReadAsync(_process);
        var ports = await _ports.Task.WaitAsync(EchoHost.Patience);
        Address = $"http://127.0.0.1:{ports["port"]}";
        RawAddress = $"http://127.0.0.1:{ports["rawPort"]}";
    }

    /// <summary>Has the peer do something and gives its answer.</summary>
    public async Task<JsonObject> DoAsync(string operation, object? arguments = null)
    {
        var command = JsonSerializer.SerializeToNode(arguments ?? new object(), JsonSerializerOptions.Web)!.AsObject();
        var id = Interlocked.Increment(ref _lastId);
        command["id"] = id;
        command["op"] = operation;
        var answer = new TaskCompletionSource<JsonObject>(TaskCreationOptions.RunContinuationsAsynchronously);
        _waiting[id] = answer;
        var line = command.ToJsonString();
        lock (_waiting)
        {
            _process!.StandardInput.WriteLine(line);
            _process.StandardInput.Flush();
        }

        return await answer.Task.WaitAsync(EchoHost.Patience);
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is { } process)
        {
            process.StandardInput.Close();
            using var patience = new CancellationTokenSource(EchoHost.Patience);
            await process.WaitForExitAsync(patience.Token);
            process.Dispose();
        }
    }

    private static string FindRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "Distributed.sln")))
        {
            folder = folder.Parent ??
                throw new InvalidOperationException($"No Distributed.sln above {AppContext.BaseDirectory}: run the tests inside the repository.");
        }

        return folder.FullName;
    }

    private async Task ReadAsync(Process process)
    {
        while (await process.StandardOutput.ReadLineAsync() is { } line)
        {
            var answer = JsonNode.Parse(line)!.AsObject();
            if (answer["id"] is null)
            {
                _ports.TrySetResult(answer);
            }
            else if (_waiting.TryRemove((int)answer["id"]!, out var waiting))
            {
                waiting.TrySetResult(answer);
            }
        }

        _ports.TrySetException(new InvalidOperationException("peer.js ended before it listened; its error is above."));
    }
}

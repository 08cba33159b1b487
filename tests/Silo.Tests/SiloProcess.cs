using System.Diagnostics;
using System.Text.Json;
using DarkMatter.Protocol;
using Grpc.Net.Client;

namespace DarkMatter.Silo.Tests;

/// <summary>The real executable as a child process that can be killed.</summary>
public sealed class SiloProcess : IDisposable
{
    /// <summary>Deadline of every wait: reached only when something is wrong.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly Process _process;

    private SiloProcess(Process process) => _process = process;

    public Uri Grpc { get; private set; } = null!;

    public Uri Http { get; private set; } = null!;

    public int ExitCode => _process.ExitCode;

    public string StandardError { get; private set; } = "";

    public GrpcChannel Channel => GrpcChannel.ForAddress(Grpc);

    public Coordinator.CoordinatorClient Client => new(Channel);

    public static SiloProcess Launch(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "darkmatter-silo.dll"));
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        var silo = new SiloProcess(Process.Start(start)!);
        silo._process.ErrorDataReceived += (_, line) => silo.StandardError += line.Data + "\n";
        silo._process.BeginErrorReadLine();
        return silo;
    }

    public static async Task<SiloProcess> Start(string state, params string[] more)
    {
        var silo = Launch(["--port", "0", "--http-port", "0", "--state", state, .. more]);
        string? line = await silo._process.StandardOutput.ReadLineAsync().WaitAsync(Patience);
        line.ShouldNotBeNull(silo.StandardError);
        using var ready = JsonDocument.Parse(line);
        ready.RootElement.GetProperty("event").GetString().ShouldBe("ready");
        silo.Grpc = new Uri(ready.RootElement.GetProperty("grpc").GetString()!);
        silo.Http = new Uri(ready.RootElement.GetProperty("http").GetString()!);
        ready.RootElement.GetProperty("port").GetInt32().ShouldBe(silo.Grpc.Port);
        ready.RootElement.GetProperty("http_port").GetInt32().ShouldBe(silo.Http.Port);
        ready.RootElement.GetProperty("pid").GetInt32().ShouldBe(silo._process.Id);
        return silo;
    }

    public async Task Kill()
    {
        _process.Kill();
        await Exited();
    }

    public async Task Terminate()
    {
        using var kill = Process.Start("kill", ["-TERM", $"{_process.Id}"]);
        await Exited();
    }

    public Task CloseInput()
    {
        _process.StandardInput.Close();
        return Exited();
    }

    public Task Exited() => _process.WaitForExitAsync().WaitAsync(Patience);

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        _process.Dispose();
    }
}

/// <summary>A folder that is gone after the test.</summary>
public sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("darkmatter-silo-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}

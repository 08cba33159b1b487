using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using DarkMatter.Bench;

namespace DarkMatter.Collectives.Bench;

/// <summary>The processes of one world.</summary>
internal sealed class RankGroup : IDisposable
{
    private readonly Process[] _ranks;
    private readonly string? _store;

    private RankGroup(Process[] ranks, string? store = null) => (_ranks, _store) = (ranks, store);

    public static async Task<RankGroup> StartOursAsync(int world)
    {
        var self = typeof(RankGroup).Assembly.Location;
        var group = new RankGroup([.. Enumerable.Range(0, world).Select(rank => Start("dotnet", [self, "rank", $"{rank}", $"{world}"]))]);
        var addresses = (await group.ReadAsync()).Select(answer => (string)answer["address"]!).ToArray();
        group.Tell(JsonSerializer.Serialize(addresses));
        await group.ReadAsync();
        return group;
    }

    public static async Task<RankGroup> StartGlooAsync(int world)
    {
        var store = Path.Combine(Path.GetTempPath(), $"gloo-{Guid.NewGuid():N}");
        var script = Path.Combine(Machine.Root, "bench", "collectives", "gloo.py");
        var group = new RankGroup([.. Enumerable.Range(0, world).Select(rank => Start("/usr/bin/python3", [script, $"{rank}", $"{world}", store]))], store);
        await group.ReadAsync();
        return group;
    }

    /// <summary>Every rank does it; the answers in rank order.</summary>
    public async Task<JsonObject[]> DoAsync(string line)
    {
        Tell(line);
        return await ReadAsync();
    }

    /// <summary>The seconds that rank 0 saw of each repeat.</summary>
    public async Task<double[]> SumAsync(int bytes, int repeats) =>
        [.. (await DoAsync($"sum {bytes} {repeats}"))[0]["seconds"]!.AsArray().Select(seconds => (double)seconds!)];

    public void Dispose()
    {
        foreach (var rank in _ranks)
        {
            rank.StandardInput.Close();
            if (!rank.WaitForExit(TimeSpan.FromSeconds(10)))
            {
                rank.Kill();
            }

            rank.Dispose();
        }

        if (_store is not null)
        {
            File.Delete(_store);
        }
    }

    private static Process Start(string program, string[] arguments) => Process.Start(new ProcessStartInfo(program, arguments)
    {
        RedirectStandardInput = true,
        RedirectStandardOutput = true,
        Environment = { ["OMP_NUM_THREADS"] = "1" },
    }) ?? throw new InvalidOperationException($"{program} did not start.");

    private void Tell(string line)
    {
        foreach (var rank in _ranks)
        {
            rank.StandardInput.WriteLine(line);
            rank.StandardInput.Flush();
        }
    }

    private async Task<JsonObject[]> ReadAsync() => await Task.WhenAll(_ranks.Select(async rank =>
        JsonNode.Parse(await rank.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(5)) ??
            throw new InvalidOperationException("A rank ended; its error is above."))!.AsObject()));
}

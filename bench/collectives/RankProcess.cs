using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Collectives.Bench;

/// <summary>One rank of ours: says its address, hears its peers', and then does what each line says.</summary>
internal static class RankProcess
{
    public static async Task<int> RunAsync(int rank, int world)
    {
        await using var server = await PeerServer.StartAsync();
        Say(new { address = server.Address });
        var peers = JsonSerializer.Deserialize<string[]>(Console.ReadLine()!)!;
        var options = new CollectiveOptions { Generation = 1, Rank = rank, Peers = peers };
        await using var collective = await GrpcCollective.ConnectAsync(server, options);
        Say(new { ready = true });
        while (Console.ReadLine() is { } line)
        {
            var words = line.Split(' ');
            var (size, repeats) = (int.Parse(words[1], CultureInfo.InvariantCulture), int.Parse(words[2], CultureInfo.InvariantCulture));
            Say(words[0] == "sum"
                ? new { seconds = Sum(collective, size / sizeof(float), repeats) }
                : new { seconds = new[] { Stress.Rank(collective, seed: size, rounds: repeats, world) } });
        }

        return 0;
    }

    private static double[] Sum(GrpcCollective collective, int elements, int repeats)
    {
        var values = new float[elements];
        values.AsSpan().Fill(1);
        for (var i = 0; i < 3; i++)
        {
            collective.AllReduceSum(values.AsSpan());
            values.AsSpan().Fill(1);
        }

        collective.Barrier();
        var seconds = new double[repeats];
        for (var i = 0; i < repeats; i++)
        {
            var started = Stopwatch.GetTimestamp();
            collective.AllReduceSum(values.AsSpan());
            seconds[i] = Stopwatch.GetElapsedTime(started).TotalSeconds;
            values.AsSpan().Fill(1);
        }

        return seconds;
    }

    private static void Say(object line)
    {
        Console.WriteLine(JsonSerializer.Serialize(line));
        Console.Out.Flush();
    }
}
